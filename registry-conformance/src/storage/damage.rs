//! With the means `damage`: damaged bytes are detected where sizes show it, and repaired.

use super::{Backend, Damage, support::*};
use registry_core::{
    Algorithm, Digest, MediaType,
    storage::{Document, Mount, Need, ReadBlob, SizePolicy, StorageError},
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
            .mount(&repository("b"), Mount::new(&a, &digest))
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

    for sizes in [SizePolicy::Exact, SizePolicy::Any] {
        let mut put = image.tagged(&[]);
        put.sizes = sizes;
        let refused = writer(&backend.first).put_manifest(&a, put).await;
        assert!(
            matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [blob.digest]),
            "damaged, {sizes:?}: {refused:?}"
        );
    }
}

pub async fn a_blob_that_was_found_damaged_is_absent_for_everybody(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    for algorithm in Algorithm::ALL {
        for damage in [Damage::Truncated, Damage::Flipped] {
            let bytes = content(1, 1000);
            let digest = Digest::of(algorithm, &bytes);
            for name in [&a, &b] {
                try_push(&backend.first, name, &bytes, digest).await.unwrap();
            }
            backend.inflict(damage, &digest);
            // A flipped byte is detected only if a wrong size causes the content to be hashed.
            let size = if damage == Damage::Flipped { 999 } else { 1000 };
            let looked = Image::new(1).needing(digest, size, Need::Blob);

            let refused = writer(&backend.first)
                .put_manifest(&a, looked.tagged(&["v1"]))
                .await;

            assert!(
                matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [digest]),
                "{damage:?}: {refused:?}"
            );
            for (storage, name) in [(&backend.first, &b), (&backend.second, &a)] {
                assert!(!holds(storage, name, &digest).await, "{damage:?}");
                assert!(read(storage, name, &digest).await.is_none(), "{damage:?}");
                let mounted = writer(storage)
                    .mount(&repository("c"), Mount::new(name, &digest))
                    .await;
                assert!(mounted.unwrap().is_none(), "{damage:?}");
            }

            try_push(&backend.second, &a, &bytes, digest).await.unwrap();

            let image = Image::new(1).needing(digest, 1000, Need::Blob);
            put(&backend.first, &a, image.tagged(&["v1"])).await;
            for name in [&a, &b] {
                assert_eq!(
                    read(&backend.first, name, &digest).await.as_ref(),
                    Some(&bytes),
                    "{damage:?}"
                );
            }
        }
    }
}

pub async fn a_damaged_manifest_is_absent_until_it_is_put_again(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        for damage in [Damage::Emptied, Damage::Truncated, Damage::Flipped] {
            let image = Image::new(1).hashed_by(algorithm);
            put(&backend.first, &a, image.tagged(&["v1"])).await;

            backend.inflict(damage, &image.digest());

            for storage in [&backend.first, &backend.second] {
                assert!(
                    manifest(storage, &a, image.digest()).await.is_none(),
                    "{damage:?}"
                );
                assert!(manifest(storage, &a, tag("v1")).await.is_none(), "{damage:?}");
            }
            put(&backend.second, &a, image.tagged(&["v1"])).await;
            let found = manifest(&backend.first, &a, tag("v1")).await.unwrap();
            assert_eq!(
                (found.digest, found.bytes),
                (image.digest(), image.bytes()),
                "{damage:?}"
            );
        }
    }
}

pub async fn a_damaged_document_is_shown_as_damaged(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    let Some(inspect) = backend.second.inspect() else {
        return;
    };

    backend.inflict(Damage::Truncated, &image.digest());
    let damaged = inspect.document(&a, &image.digest()).await.unwrap();
    backend.inflict(Damage::Emptied, &image.digest());
    let lost = inspect.document(&a, &image.digest()).await.unwrap();

    let Document::Damaged(bytes) = damaged else {
        panic!("{damaged:?}");
    };
    assert!(image.bytes().starts_with(&bytes), "what is left of it");
    assert!(matches!(lost, Document::Lost), "{lost:?}");
}

pub async fn a_damaged_child_is_asked_for_and_put_again(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    put(&backend.first, &a, child.tagged(&[])).await;
    backend.inflict(Damage::Truncated, &child.digest());
    let index =
        Image::new(2)
            .of_type(MediaType::OCI_INDEX)
            .needing(child.digest(), child.size(), Need::Manifest);

    let refused = writer(&backend.first)
        .put_manifest(&a, index.tagged(&["v1"]))
        .await;

    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [child.digest()]),
        "{refused:?}"
    );
    put(&backend.first, &a, child.tagged(&[])).await;
    put(&backend.first, &a, index.tagged(&["v1"])).await;
    let found = manifest(&backend.second, &a, child.digest()).await;
    assert_eq!(found.map(|found| found.bytes), Some(child.bytes()));
}

pub async fn whoever_reads_a_damaged_blob_reads_on_when_it_is_found(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 300_000)).await;
    backend.inflict(Damage::Flipped, &blob.digest);
    let reading = backend
        .first
        .open_blob(&a, &blob.digest, ReadBlob::default())
        .await
        .unwrap()
        .unwrap();
    let looked = Image::new(1).needing(blob.digest, 1, Need::Blob);

    let refused = writer(&backend.first).put_manifest(&a, looked.tagged(&[])).await;

    assert!(
        matches!(refused, Err(StorageError::MissingReferences(_))),
        "{refused:?}"
    );
    assert_eq!(drain(reading).await.len(), 300_000);
}
