//! Numbers of requests to the store, as the documentation states them.

use crate::{
    Kept, ObjectStorage, keys,
    support::{Remote, digest, name, put, resolve, tag},
};
use bytes::Bytes;
use object_stores::proxy::{Kind, Seen};
use registry_core::{
    Algorithm, Digest, MediaType, Reference, Registry, Repository,
    service::ManifestPush,
    storage::{Page, Storage as _},
};

/// Returns true for a request of the operation itself. The removal of the record of an upload comes some time after the
/// upload, a process reads the state of collections once each 10 seconds, and few puts of a tag shorten its history.
fn is_counted(seen: &&Seen) -> bool {
    let is_removal = seen.kind == Kind::Delete && seen.key.contains("/_sessions/");
    let is_view = seen.kind == Kind::Get && seen.key.ends_with("/_collect/state");
    let is_trim = seen.kind == Kind::List && seen.key.contains("/_history/");
    !is_removal && !is_view && !is_trim
}

/// Returns the number of requests during a call.
async fn requests<T>(remote: &Remote, call: impl Future<Output = T>) -> (usize, T) {
    remote.proxy.forget();
    let output = call.await;
    let seen = remote.proxy.seen();
    (seen.iter().filter(is_counted).count(), output)
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
    assert!(kept <= 2, "{kept}: the record and the content");
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

/// Pushes an image of three new layers to a new repository, and returns the number of requests.
///
/// The records of the sessions are removed a little later, with one request where the store can: it is counted as 1.
async fn push_of_an_image(layer: usize, push_blob: impl AsyncFn(&Repository, &Digest, Bytes)) -> usize {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    // The state of the collection is known from then on.
    put(&storage, 1, &["v0"]).await;
    let repository = Registry::builder(storage).build().repository("team/app").unwrap();
    remote.proxy.forget();

    let mut descriptors = Vec::new();
    for (seed, size) in [(0, 1000), (1, layer), (2, layer), (3, layer)] {
        let bytes = Bytes::from(vec![seed; size]);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        assert!(repository.blob(&digest).await.unwrap().is_none());
        push_blob(&repository, &digest, bytes).await;
        descriptors.push(format!(
            r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}}"#
        ));
    }
    let (config, layers) = descriptors.split_first().unwrap();
    let (media_type, layers) = (MediaType::OCI_MANIFEST, layers.join(","));
    let document =
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{config},"layers":[{layers}]}}"#);
    let push = ManifestPush::new(tag("v1"), document);
    repository.put_manifest(push).await.unwrap();

    let seen = remote.proxy.seen();
    1 + seen.iter().filter(is_counted).count()
}

#[tokio::test]
async fn the_first_page_of_many_tags_takes_as_many_requests_as_pages_and_a_few() {
    let remote = Remote::start().await;
    put(&remote.open(true).await, 1, &["v1", "v2"]).await;
    let options = || ObjectStorage::options().index_all();
    let storage = remote.open_with(options(), true).await;

    let a = name("a");
    let page = || storage.tags(&a, Page::first(10));
    let (first, listed) = requests(&remote, page()).await;
    let (next, again) = requests(&remote, page()).await;

    for listed in [listed, again] {
        assert_eq!(listed.unwrap().unwrap().items, [tag("v1"), tag("v2")]);
    }
    // The few links that there might be, the prefixes, the parts of time that have notes, and the notes of one or two.
    assert!(first <= 6, "{first}");
    assert!(next <= 3, "{next}");
}

#[tokio::test]
async fn many_tags_that_are_known_by_their_prefixes_alone_are_listed_with_their_objects() {
    let mut remote = Remote::start().await;
    remote.probe.prefixes_vanish = Kept::Never;
    let options = ObjectStorage::options().index_all();
    let storage = remote.open_with(options, true).await;
    let (a, target) = (name("a"), digest(1).to_string());
    for number in 0..600 {
        let key = keys::tag(&a, &tag(&format!("v{number}")));
        storage.store.bucket.put(&key, target.clone()).await.unwrap();
    }
    let left = keys::tag_index(&a, &tag("gone"), &digest(1));
    storage.store.bucket.put(&left, target).await.unwrap();

    let (first, listed) = requests(&remote, storage.tags(&a, Page::first(1000))).await;

    let listed = listed.unwrap().unwrap().items;
    assert_eq!(listed.len(), 600);
    assert!(!listed.contains(&tag("gone")));
    assert!(first <= 10, "{first}");
}

/// Sends a blob as oras and containerd do.
async fn send_whole(repository: &Repository, digest: &Digest, bytes: Bytes) {
    let upload = repository.open_upload(Algorithm::Sha256).await.unwrap();
    repository.close(&upload.id, digest, None, bytes).await.unwrap();
}

/// Sends a blob as docker and crane do.
async fn send_as_a_chunk(repository: &Repository, digest: &Digest, bytes: Bytes) {
    let upload = repository.open_upload(Algorithm::Sha256).await.unwrap();
    repository.append(&upload.id, None, bytes).await.unwrap();
    repository.close(&upload.id, digest, None, "").await.unwrap();
}

#[tokio::test]
async fn an_image_of_three_layers_whose_blobs_are_sent_whole_takes_at_most_45_requests() {
    // For each blob: the link is absent; the record; the record again; the bytes, the record, the link. The manifest: its
    // needs, itself, the notes for listings, the tag and its history.
    let requests = push_of_an_image(1_000_000, send_whole).await;
    assert!(requests <= 45, "{requests}");
}

#[tokio::test]
async fn an_image_of_three_small_layers_whose_blobs_are_sent_as_chunks_takes_at_most_45_requests() {
    // For each blob: the link is absent; the record; the record with the bytes; the bytes, the record, the link.
    let requests = push_of_an_image(200_000, send_as_a_chunk).await;
    assert!(requests <= 45, "{requests}");
}

#[tokio::test]
async fn an_image_of_three_layers_whose_blobs_are_sent_as_chunks_takes_at_most_51_requests() {
    // The digest is known at the end only, so that a layer is stored privately, and copied. The append claims the session,
    // and records its end.
    let requests = push_of_an_image(1_000_000, send_as_a_chunk).await;
    assert!(requests <= 51, "{requests}");
}
