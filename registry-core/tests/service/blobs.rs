//! Blobs that clients fetch elsewhere, and parts of them.

use crate::{ByHeader, digest, filled, send, wrapped::Wrapped};
use http::{Method, StatusCode, header};
use registry_core::{
    Registry, Storage,
    storage::{BlobBody, MemoryStorage},
};

/// Redirects whoever can follow.
fn redirecting(storage: MemoryStorage) -> impl Storage {
    Wrapped::new(storage, |how, opened| {
        let mut opened = opened?;
        if let (Some(read), true) = (&mut opened, how.allow_redirect) {
            read.body = BlobBody::Redirect("https://bucket.example/blob?signature=1".parse().unwrap());
        }
        Ok(opened)
    })
}

/// Its URL is signed for a time, and for whoever asked.
#[tokio::test]
async fn a_redirect_is_never_kept() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let target = format!("/v2/a/blobs/{}", digest());
    let open = Registry::builder(redirecting(storage.clone())).build();
    let closed = Registry::builder(redirecting(storage))
        .authenticator(ByHeader)
        .build();
    for (registry, user) in [(open, None), (closed, Some("ann"))] {
        let answer = send(&registry, user, Method::GET, &target, "").await;

        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(
            answer.headers[header::LOCATION],
            "https://bucket.example/blob?signature=1"
        );
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}
