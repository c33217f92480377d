//! The ability `damage`: stored bytes that are not right any more are noticed where sizes tell, and healed.

use super::{Backend, Damage, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Need, StorageError},
};

pub async fn a_blob_of_which_nothing_is_left_is_absent(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        let bytes = content(1, 1000);
        let digest = Digest::of(algorithm, &bytes);
        try_push(&backend.first, &a, &bytes, digest).await.unwrap();

        backend.inflict(Damage::Emptied, &digest);

        assert!(!holds(&backend.second, &a, &digest).await);
        let mounted = writer(&backend.first)
            .mount(&a, &repository("b"), &digest)
            .await
            .unwrap();
        assert!(mounted.is_none());
        let image = Image::new(1).needing(digest, 1000, Need::Blob);
        let refused = writer(&backend.first).put_manifest(&a, image.tagged(&[])).await;
        assert!(
            matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [digest]),
            "{refused:?}"
        );
    }
}

pub async fn a_damaged_blob_is_healed_by_pushing_it_again(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        for damage in [Damage::Emptied, Damage::Truncated] {
            let bytes = content(1, 1000);
            let digest = Digest::of(algorithm, &bytes);
            try_push(&backend.first, &a, &bytes, digest).await.unwrap();
            backend.inflict(damage, &digest);

            let healed = try_push(&backend.second, &a, &bytes, digest).await.unwrap();

            assert_eq!(healed.size, 1000, "{damage:?}");
            assert_eq!(
                read(&backend.first, &a, &digest).await.as_ref(),
                Some(&bytes),
                "{damage:?}"
            );
            let image = Image::new(1).needing(digest, 1000, Need::Blob);
            put(&backend.first, &a, image.tagged(&["v1"])).await;
        }
    }
}

pub async fn a_manifest_that_needs_a_truncated_blob_asks_for_it(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    backend.inflict(Damage::Truncated, &blob.digest);
    let image = Image::new(1).needing(blob.digest, 1000, Need::Blob);

    let refused = writer(&backend.first)
        .put_manifest(&a, image.tagged(&["v1"]))
        .await;

    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [blob.digest]),
        "{refused:?}"
    );
    assert!(backend.second.tags(&a, all()).await.unwrap().is_none());
    push(&backend.first, &a, &bytes).await;
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}

pub async fn an_index_that_needs_something_truncated_asks_for_it_whatever_it_is(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    put(&backend.first, &a, child.tagged(&[])).await;
    let bytes = content(2, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    for (digest, size) in [(child.digest(), child.size()), (blob.digest, 1000)] {
        backend.inflict(Damage::Truncated, &digest);
        let index = Image::new(3).needing(digest, size, Need::Either);

        let refused = writer(&backend.first).put_manifest(&a, index.tagged(&[])).await;

        assert!(
            matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [digest]),
            "{refused:?}"
        );
    }
    put(&backend.first, &a, child.tagged(&[])).await;
    push(&backend.first, &a, &bytes).await;
    let index = Image::new(4)
        .needing(child.digest(), child.size(), Need::Either)
        .needing(blob.digest, 1000, Need::Either);
    put(&backend.first, &a, index.tagged(&["v1"])).await;
}

pub async fn a_size_that_does_not_match_makes_the_blob_be_hashed_again(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let image = Image::new(1).needing(blob.digest, 999, Need::Blob);
    let refused = writer(&backend.first).put_manifest(&a, image.tagged(&[])).await;
    assert!(
        matches!(refused, Err(StorageError::SizeMismatch { .. })),
        "whole: {refused:?}"
    );

    backend.inflict(Damage::Flipped, &blob.digest);

    let refused = writer(&backend.first).put_manifest(&a, image.tagged(&[])).await;
    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [blob.digest]),
        "damaged: {refused:?}"
    );
}
