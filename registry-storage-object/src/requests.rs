//! Numbers of requests to the store, as the documentation states them.

use crate::support::{Remote, digest, name, put, resolve, tag};
use registry_core::{MediaType, Reference, Registry, service::ManifestPush, storage::Storage as _};

/// Returns the number of requests during a call.
async fn requests<T>(remote: &Remote, call: impl Future<Output = T>) -> (usize, T) {
    remote.proxy.forget();
    let output = call.await;
    (remote.proxy.seen().len(), output)
}

#[tokio::test]
async fn a_manifest_by_tag_takes_three_requests_and_then_one() {
    let remote = Remote::start().await;
    put(&remote.open(true).await, 1, &["v1"]).await;
    let storage = remote.open(true).await;

    let (cold, found) = requests(&remote, resolve(&storage, "v1")).await;
    let (kept, again) = requests(&remote, resolve(&storage, "v1")).await;

    assert_eq!((found, again), (Some(digest(1)), Some(digest(1))));
    assert_eq!((cold, kept), (3, 1));
    // The record and the content are asked for each time: another replica may have removed them.
    let (a, reference) = (name("a"), Reference::Digest(digest(1)));
    let (kept, _) = requests(&remote, storage.manifest(&a, &reference)).await;
    assert!(
        kept <= 3,
        "{kept}: the record, the content, and perhaps the state of the collection"
    );
}

#[tokio::test]
async fn a_manifest_with_four_blobs_and_a_new_tag_takes_at_most_20_requests() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let repository = Registry::builder(storage).build().repository("team/app").unwrap();
    let mut descriptors = Vec::new();
    for seed in 0..4 {
        let blob = repository.push_blob(vec![seed; 1000], None).await.unwrap();
        let digest = blob.digest;
        descriptors.push(format!(
            r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":1000}}"#
        ));
    }
    let (config, layers) = descriptors.split_first().unwrap();
    let (media_type, layers) = (MediaType::OCI_MANIFEST, layers.join(","));
    let document =
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{config},"layers":[{layers}]}}"#);
    let push = || ManifestPush::new(tag("v1"), document.clone());

    let (new, pushed) = requests(&remote, repository.put_manifest(push())).await;
    let (again, repeated) = requests(&remote, repository.put_manifest(push())).await;

    assert!(pushed.is_ok() && repeated.is_ok());
    assert!(new <= 20, "{new}");
    assert!(again <= 16, "{again}");
}
