//! Tests across repositories: mounts and the catalog are limited to repositories that may be pulled.

use crate::{digest, filled, ruled, send};
use http::{Method, StatusCode, header};
use registry_core::{auth::Decision, protocol::Answer, storage::MemoryStorage};

#[tokio::test]
async fn a_mount_asks_for_pull_on_its_source_and_degrades_to_a_session() {
    let storage = MemoryStorage::new();
    filled(&storage, &["secret", "shared"]).await;
    let registry = ruled(storage, |_, repository, action| match (repository, action) {
        ("secret", _) => Decision::Deny,
        _ => Decision::Allow,
    });
    let digest = digest();
    let mount = async |from: &str| {
        let target = format!("/v2/mine/blobs/uploads/?mount={digest}{from}");
        send(&registry, Some("ann"), Method::POST, &target, "").await
    };

    let refused = mount("&from=secret").await;
    assert_eq!(refused.status, StatusCode::ACCEPTED);
    assert!(
        refused.headers[header::LOCATION]
            .to_str()
            .unwrap()
            .starts_with("/v2/mine/blobs/uploads/")
    );
    let blob = format!("/v2/mine/blobs/{digest}");
    assert_eq!(
        send(&registry, Some("ann"), Method::GET, &blob, "").await.status,
        StatusCode::NOT_FOUND
    );

    // Without a source the holders are tried in order: `secret` is denied, `shared` is allowed.
    let mounted = mount("").await;
    assert_eq!(mounted.status, StatusCode::CREATED);
    assert_eq!(mounted.headers[header::LOCATION], blob);
    assert_eq!(
        send(&registry, Some("ann"), Method::GET, &blob, "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_catalog_shows_what_may_be_pulled_and_links_to_nothing_else() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a", "hidden-1", "hidden-2", "m", "z", "zz-hidden"]).await;
    let registry = ruled(storage, |_, repository, _| {
        if repository.contains("hidden") {
            Decision::Deny
        } else {
            Decision::Allow
        }
    });

    let mut target = "/v2/_catalog?n=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = send(&registry, Some("ann"), Method::GET, &target, "").await;
        assert_eq!(page.status, StatusCode::OK);
        seen.extend(page.json()["repositories"].as_array().unwrap().clone());
        match Answer::new(page.status, &page.headers).next() {
            Some(next) => target = next.to_owned(),
            None => break,
        }
        assert!(!target.contains("hidden"), "{target}");
    }
    assert_eq!(seen, ["a", "m", "z"]);
}
