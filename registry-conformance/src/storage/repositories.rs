//! Existence of repositories, sources of mounts, and holders of blobs.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Deletion, Mount, Need, Storage, TagExpect},
};

async fn existing(storage: &dyn Storage) -> Vec<String> {
    texts(&storage.repositories(all()).await.unwrap().items)
}

pub async fn blobs_and_mounts_do_not_make_a_repository_exist(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    writer(&backend.first)
        .mount(&b, Mount::new(&a, &blob.digest))
        .await
        .unwrap()
        .unwrap();

    assert!(existing(&backend.second).await.is_empty());
    for repository in [&a, &b] {
        assert!(backend.second.tags(repository, all()).await.unwrap().is_none());
    }
}

pub async fn a_repository_exists_from_its_first_manifest_on(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    put(&backend.first, &a, Image::new(1).tagged(&["v1"])).await;
    put(&backend.first, &b, Image::new(1).tagged(&[])).await;

    assert_eq!(existing(&backend.second).await, ["a", "b"]);
    assert_eq!(tags(&backend.second, &a).await, ["v1"]);
    assert!(
        tags(&backend.second, &b).await.is_empty(),
        "it exists, without tags"
    );
}

pub async fn a_repository_still_exists_when_everything_in_it_has_gone(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1", "v2"])).await;
    writer(&backend.first)
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    writer(&backend.first)
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap()
        .unwrap();

    assert_eq!(existing(&backend.second).await, ["a"]);
    assert!(tags(&backend.second, &a).await.is_empty());
}

pub async fn a_mounted_blob_is_a_blob_of_both(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let bytes = content(1, 100_000);
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, &bytes);
        let blob = try_push(&backend.first, &a, &bytes, digest).await.unwrap();

        let mounted = writer(&backend.first)
            .mount(&b, Mount::new(&a, &digest))
            .await
            .unwrap()
            .unwrap();

        assert_eq!((mounted.digest, mounted.size), (digest, blob.size));
        assert_eq!(read(&backend.second, &b, &digest).await.as_ref(), Some(&bytes));
        assert_eq!(read(&backend.second, &a, &digest).await.as_ref(), Some(&bytes));
        let image = Image::new(1).needing(digest, blob.size, Need::Blob);
        put(&backend.second, &b, image.tagged(&[])).await;
    }
}

pub async fn a_blob_that_the_source_does_not_hold_is_not_mounted(backend: Backend) {
    let (a, b, c) = (repository("a"), repository("b"), repository("c"));
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let writer = writer(&backend.first);

    // The blob is stored, but not in the source repository.
    assert!(
        writer
            .mount(&c, Mount::new(&b, &blob.digest))
            .await
            .unwrap()
            .is_none()
    );
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    assert!(writer.mount(&c, Mount::new(&a, &absent)).await.unwrap().is_none());

    for digest in [blob.digest, absent] {
        assert!(!holds(&backend.second, &c, &digest).await);
    }
}

pub async fn a_mounted_blob_stays_when_the_source_deletes_it(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let bytes = content(1, 100);
    let blob = push(&backend.first, &a, &bytes).await;
    writer(&backend.first)
        .mount(&b, Mount::new(&a, &blob.digest))
        .await
        .unwrap()
        .unwrap();

    assert!(
        writer(&backend.first)
            .delete_blob(&a, &blob.digest, Deletion::new())
            .await
            .unwrap()
    );

    assert!(!holds(&backend.second, &a, &blob.digest).await);
    assert_eq!(read(&backend.second, &b, &blob.digest).await, Some(bytes));
}

pub async fn mounting_where_the_blob_is_already_succeeds(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 100);
    let blob = push(&backend.first, &a, &bytes).await;

    for _ in 0..2 {
        let mounted = writer(&backend.first)
            .mount(&a, Mount::new(&a, &blob.digest))
            .await
            .unwrap();
        assert_eq!(mounted.map(|info| info.digest), Some(blob.digest));
    }
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}

pub async fn whoever_is_listed_as_a_holder_holds_the_blob(backend: Backend) {
    let bytes = content(1, 100);
    for name in ["b", "a/c", "a-c", "a"] {
        push(&backend.first, &repository(name), &bytes).await;
    }
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    writer(&backend.first)
        .delete_blob(&repository("b"), &digest, Deletion::new())
        .await
        .unwrap();

    let holders = backend.second.holders(&digest, all()).await.unwrap();

    // The list may be incomplete, but every entry must be true.
    assert!(holders.items.is_sorted(), "{holders:?}");
    for holder in holders.items {
        assert!(holds(&backend.second, &holder, &digest).await, "{holder}");
    }
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    assert!(
        backend
            .second
            .holders(&absent, all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
