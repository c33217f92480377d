//! Tests of response headers for caching, and of repeated requests after a lost response.

use crate::{digest, filled, ruled, send};
use http::{Method, StatusCode, header};
use registry_core::{Algorithm, Digest, Registry, auth::Decision, storage::MemoryStorage};

#[tokio::test]
async fn what_may_be_kept_is_said() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let blob = format!("/v2/a/blobs/{}", Digest::of(Algorithm::Sha256, b"{}"));
    let open = Registry::builder(storage.clone()).build();
    let closed = ruled(storage, |_, _, _| Decision::Allow);
    for (registry, target, expected) in [
        (&open, &*blob, Some("max-age=31536000")),
        (&closed, &*blob, Some("private, max-age=31536000")),
        (&open, "/v2/a/manifests/v1", Some("no-cache")),
        (&open, "/v2/a/tags/list", Some("no-cache")),
        (&open, "/v2/_catalog", Some("no-cache")),
        (&open, "/v2/a/manifests/v2", None),
    ] {
        let answer = send(registry, Some("ann"), Method::GET, target, "").await;
        let said = answer.headers.get(header::CACHE_CONTROL);
        assert_eq!(said.map(|value| value.to_str().unwrap()), expected, "{target}");
    }
}

#[tokio::test]
async fn options_are_told_before_anybody_logs_in_and_whatever_there_is() {
    let registry = ruled(MemoryStorage::new(), |_, _, _| Decision::DenyHidden);
    let session = "/v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    for (target, allowed) in [
        ("/v2/", "GET, HEAD, OPTIONS"),
        ("/v2/_catalog", "GET, HEAD, OPTIONS"),
        ("/v2/team/app/tags/list?n=x", "GET, HEAD, OPTIONS"),
        ("/v2/team/app/manifests/v1", "GET, HEAD, PUT, DELETE, OPTIONS"),
        (
            &format!("/v2/team/app/blobs/{}", digest()),
            "GET, HEAD, DELETE, OPTIONS",
        ),
        ("/v2/team/app/blobs/uploads/", "POST, OPTIONS"),
        (session, "GET, HEAD, PATCH, PUT, DELETE, OPTIONS"),
    ] {
        for user in [None, Some("wrong"), Some("ann")] {
            let answer = send(&registry, user, Method::OPTIONS, target, "").await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{target}");
            assert_eq!(answer.headers[header::ALLOW], allowed, "{target}");
            assert!(answer.body.is_empty());
        }
    }
    for (target, status, code) in [
        ("/v2/team/app", 404, "UNSUPPORTED"),
        ("/v2/Team/tags/list", 400, "NAME_INVALID"),
        ("/v2/team/blobs/sha256:bad", 400, "DIGEST_INVALID"),
    ] {
        let answer = send(&registry, None, Method::OPTIONS, target, "").await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (status, code),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_close_whose_answer_was_lost_can_be_repeated() {
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let opened = send(&registry, None, Method::POST, "/v2/a/blobs/uploads/", "").await;
    let close = format!(
        "{}?digest={}",
        opened.headers[header::LOCATION].to_str().unwrap(),
        digest()
    );

    for _ in 0..2 {
        assert_eq!(
            send(&registry, None, Method::PUT, &close, "{}").await.status,
            StatusCode::CREATED
        );
    }
    let other = close.replace("/v2/a/", "/v2/b/");
    let elsewhere = send(&registry, None, Method::PUT, &other, "{}").await;
    assert_eq!(
        (elsewhere.status, &*elsewhere.code()),
        (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN")
    );
}
