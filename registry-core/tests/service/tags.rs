//! Tests of pushes to existing tags.

use crate::{IMAGE, filled, manifest, ruled};
use http::{Request, StatusCode, header};
use registry_core::{Action, Algorithm, Digest, Registry, auth::Decision, storage::MemoryStorage};

#[tokio::test]
async fn who_may_push_but_not_overwrite_moves_no_tag_that_exists() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = ruled(storage, |_, _, action| {
        if action == Action::Overwrite {
            Decision::Deny
        } else {
            Decision::Allow
        }
    });
    let put = async |tag: &str, comment: &str| {
        let request = Request::put(format!("/v2/team/app/manifests/{tag}"))
            .header(header::AUTHORIZATION, "ann")
            .header(header::CONTENT_TYPE, IMAGE)
            .body(http_body_util::Full::new(manifest(comment)));
        registry.handle(request.unwrap()).await.status()
    };

    assert_eq!(put("v1", "first").await, StatusCode::CREATED, "the same again");
    assert_eq!(put("v1", "second").await, StatusCode::FORBIDDEN);
    assert_eq!(put("v2", "second").await, StatusCode::CREATED, "a new tag");

    let repository = registry.repository("team/app").unwrap();
    let v1 = repository.manifest("v1").await.unwrap().unwrap();
    assert_eq!(v1.bytes, manifest("first"));
}

#[tokio::test]
async fn preconditions_move_a_tag_only_from_where_it_is_expected() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = Registry::builder(storage).allow_anonymous_push().build();
    let first = Digest::of(Algorithm::Sha256, &manifest("first"));
    let put = async |name: header::HeaderName, value: String, comment: &str| {
        let request = Request::put("/v2/team/app/manifests/v1")
            .header(header::CONTENT_TYPE, IMAGE)
            .header(name, value)
            .body(http_body_util::Full::new(manifest(comment)));
        registry.handle(request.unwrap()).await.status()
    };

    assert_eq!(
        put(header::IF_NONE_MATCH, "*".into(), "second").await,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        put(header::IF_MATCH, format!("\"{first}\""), "second").await,
        StatusCode::CREATED
    );
    assert_eq!(
        put(header::IF_MATCH, format!("\"{first}\""), "third").await,
        StatusCode::PRECONDITION_FAILED
    );
}
