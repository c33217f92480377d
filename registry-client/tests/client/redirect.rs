//! Redirects of reads.

use crate::support::{Scripted, content, descriptor, reply};
use registry_client::Error;
use std::sync::Arc;

#[tokio::test]
async fn a_redirect_to_another_host_is_followed() {
    let blob = content(5000);
    let sent = blob.clone();
    let store = Arc::new(Scripted::start(move |_| reply(200).body(sent.clone())));
    let location = store.url("/bucket/blob?signature=s");
    let registry = Scripted::start(move |_| reply(307).header("location", location.clone()));

    let pulled = registry
        .repository("a")
        .blob(&descriptor(&blob).digest, 5000)
        .await;

    assert!(pulled.unwrap() == blob);
    assert_eq!(store.received()[0].target, "/bucket/blob?signature=s");
}

#[tokio::test]
async fn redirects_end_after_five() {
    let registry = Scripted::start(|received| {
        let next = format!("{}x", received.path());
        reply(302).header("location", next)
    });

    let error = registry.repository("a").manifest("v1").await.unwrap_err();

    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert_eq!(registry.received().len(), 6);
}

#[tokio::test]
async fn plain_http_elsewhere_is_refused() {
    let registry = Scripted::start(|_| reply(307).header("location", "http://registry.example/blob"));

    let error = registry.repository("a").manifest("v1").await.unwrap_err();

    let message = error.to_string();
    assert!(message.contains("plain HTTP"), "{message}");
}

#[tokio::test]
async fn a_redirect_without_a_usable_location_is_an_error() {
    for location in ["ftp://a/b", "http://user:pw@127.0.0.1/", ""] {
        let registry = Scripted::start(move |_| reply(307).header("location", location));
        let error = registry.repository("a").manifest("v1").await.unwrap_err();
        if location.is_empty() {
            // It resolves to the folder of the request, and never ends.
            assert!(matches!(error, Error::Protocol { .. }), "{error}");
        } else {
            assert!(error.to_string().contains("usable Location"), "{error}");
        }
    }
}
