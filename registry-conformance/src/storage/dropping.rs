//! Futures that are dropped in the middle: the operation finishes or leaves nothing, and can be repeated.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Deletion, Mount, Referring, StorageError, TagExpect},
};

/// Number of waits that exceeds those of any operation of a backend that is not remote.
const POINTS: usize = 12;

pub async fn a_commit_that_is_dropped_can_be_repeated(backend: Backend) {
    let a = repository("a");
    for point in 0..POINTS {
        let bytes = content(point as u64, 10_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let opened = open(&backend.first, &a, Algorithm::Sha256).await;
        let state = appended(&backend.first, &a, &opened, &bytes).await;
        let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;

        dropped_at(
            point,
            writer(&backend.first).commit(&a, state.clone(), proof.clone()),
        )
        .await;

        if let Some(found) = read(&backend.second, &a, &digest).await {
            assert!(
                found == bytes,
                "dropped at wait {point}, a part of the blob was visible"
            );
        }
        loop {
            match writer(&backend.second)
                .commit(&a, state.clone(), proof.clone())
                .await
            {
                Ok(_) => break,
                // The dropped call may still be running.
                Err(StorageError::UploadConflict { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("dropped at wait {point}: {error:?}"),
            }
        }
        assert_eq!(read(&backend.first, &a, &digest).await, Some(bytes));
        assert!(state_of(&backend.first, &a, &state.id).await.is_none());
    }
}

pub async fn a_manifest_whose_put_is_dropped_is_there_with_its_referrer_entry_or_not_at_all(
    backend: Backend,
) {
    let a = repository("a");
    for point in 0..POINTS {
        let seed = point as u64;
        let subject = Image::new(1000 + seed).digest();
        let image = Image::new(seed).referring_to(subject, "application/vnd.example.signature");
        let name = format!("v{point}");
        let listed = async || {
            let listing = backend
                .second
                .referrers(&a, Referring::new(&subject), all())
                .await
                .unwrap();
            !listing.items.is_empty()
        };

        dropped_at(
            point,
            writer(&backend.first).put_manifest(&a, image.tagged(&[&name])),
        )
        .await;

        // The dropped call may finish meanwhile, so the item that appears last is checked first.
        if resolve(&backend.second, &a, &name).await.is_some() {
            assert!(
                manifest(&backend.second, &a, image.digest()).await.is_some(),
                "wait {point}: tag alone"
            );
        }
        if manifest(&backend.second, &a, image.digest()).await.is_some() {
            assert!(
                listed().await,
                "wait {point}: manifest without its referrer entry"
            );
        } else if listed().await {
            let found = manifest(&backend.second, &a, image.digest()).await;
            assert!(
                found.is_some(),
                "wait {point}: referrer entry without its manifest"
            );
        }
        put(&backend.second, &a, image.tagged(&[&name])).await;
        assert_eq!(resolve(&backend.first, &a, &name).await, Some(image.digest()));
        assert!(listed().await);
    }
}

pub async fn a_manifest_whose_deletion_is_dropped_takes_its_tags_along_or_stays(backend: Backend) {
    let a = repository("a");
    put(&backend.first, &a, Image::new(999).tagged(&["stays"])).await;
    for point in 0..POINTS {
        let subject = Image::new(500).digest();
        let image = Image::new(point as u64).referring_to(subject, "application/vnd.example.signature");
        put(&backend.first, &a, image.tagged(&["v1", "v2"])).await;

        dropped_at(
            point,
            writer(&backend.first).delete_manifest(&a, &image.digest(), Deletion::new()),
        )
        .await;

        let _ = writer(&backend.second)
            .delete_manifest(&a, &image.digest(), Deletion::new())
            .await
            .unwrap();
        assert!(manifest(&backend.second, &a, image.digest()).await.is_none());
        for name in ["v1", "v2"] {
            assert_eq!(resolve(&backend.second, &a, name).await, None, "wait {point}");
        }
        // The dropped call may still be removing files.
        while tags(&backend.second, &a).await != ["stays"] {
            tokio::task::yield_now().await;
        }
        while !backend
            .second
            .referrers(&a, Referring::new(&subject), all())
            .await
            .unwrap()
            .items
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    }
}

pub async fn deletions_that_are_dropped_can_be_repeated(backend: Backend) {
    let a = repository("a");
    for point in 0..POINTS {
        let blob = push(&backend.first, &a, &content(1, 100)).await;
        put(&backend.first, &a, Image::new(1).tagged(&["v1", "v2"])).await;
        let writer = writer(&backend.first);

        dropped_at(point, writer.delete_blob(&a, &blob.digest, Deletion::new())).await;
        dropped_at(
            point,
            writer.delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new()),
        )
        .await;

        let _ = writer
            .delete_blob(&a, &blob.digest, Deletion::new())
            .await
            .unwrap();
        let _ = writer
            .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
            .await
            .unwrap();
        assert!(!holds(&backend.second, &a, &blob.digest).await);
        assert_eq!(tags(&backend.second, &a).await, ["v2"], "wait {point}");
    }
}

pub async fn a_mount_that_is_dropped_can_be_repeated(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 100);
    let blob = push(&backend.first, &a, &bytes).await;
    for point in 0..POINTS {
        let b = repository(&format!("b{point}"));

        dropped_at(
            point,
            writer(&backend.first).mount(&b, Mount::new(&a, &blob.digest)),
        )
        .await;

        if let Some(found) = read(&backend.second, &b, &blob.digest).await {
            assert_eq!(found, bytes);
        }
        let mounted = writer(&backend.second)
            .mount(&b, Mount::new(&a, &blob.digest))
            .await
            .unwrap();
        assert!(mounted.is_some());
        assert_eq!(
            read(&backend.first, &b, &blob.digest).await.as_ref(),
            Some(&bytes)
        );
    }
}
