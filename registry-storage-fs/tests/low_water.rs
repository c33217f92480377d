//! Uploads do not use the reserve, and everything else continues.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_core::{
    Algorithm, Digest,
    storage::{Deletion, Mount, NewUpload, Result, StorageError, StorageHealth as _, TagExpect, UploadState},
};
use registry_storage_fs::{FsStorage, OpenError};
use std::{error::Error, path::Path};
use support::*;

/// Opens a directory in which this many bytes are reserved. No disk has `u64::MAX`.
async fn reserving(root: &Path, min_free: u64) -> FsStorage {
    loop {
        match FsStorage::options().min_free(min_free).open(root) {
            Ok(storage) => return storage,
            // A thread that the last operation left behind still has it.
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn try_open(storage: &FsStorage, new: NewUpload) -> Result<UploadState> {
    writer(storage).open_upload(&name("a"), new).await
}

#[tokio::test]
async fn no_upload_is_opened_below_the_mark_and_the_log_learns_why() {
    let root = tempfile::tempdir().unwrap();
    let storage = reserving(root.path(), u64::MAX).await;

    let refused = try_open(&storage, NewUpload::hashed_by(Algorithm::Sha256))
        .await
        .unwrap_err();

    assert!(matches!(refused, StorageError::Full { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains(root.path().to_str().unwrap()),
        "{refused}"
    );
    let why = refused.source().unwrap().to_string();
    assert!(why.contains(&u64::MAX.to_string()), "{why}");
}

#[tokio::test]
async fn a_reserve_that_is_larger_than_the_disk_is_warned_of() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let size = storage.space().await.unwrap().unwrap().bytes_total;
    drop(storage);
    let log = log::Log::capture();
    drop(reserving(root.path(), size).await);
    assert_eq!(log.take(), "");

    drop(reserving(root.path(), size + 1).await);

    let said = log.take();
    for part in [
        root.path().to_str().unwrap(),
        &size.to_string(),
        "every upload is refused",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn an_upload_that_is_announced_too_large_is_refused_before_a_byte_of_it() {
    let root = tempfile::tempdir().unwrap();
    let storage = reserving(root.path(), 1).await;
    let digest = Digest::of(Algorithm::Sha256, b"");

    let refused = try_open(&storage, NewUpload::of(digest, Some(u64::MAX)))
        .await
        .unwrap_err();
    let small = try_open(&storage, NewUpload::of(digest, Some(0))).await;

    assert!(matches!(refused, StorageError::Full { .. }), "{refused:?}");
    assert!(small.is_ok(), "{small:?}");
}

#[tokio::test]
async fn below_the_mark_what_is_there_is_closed_tagged_read_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (name("a"), name("b"));
    let bytes = content(100_000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &a).await;
    let state = append(&storage, &a, state, &bytes).await.unwrap();
    let going_on = open_upload(&storage, &a).await;
    drop(storage);
    let storage = reserving(root.path(), u64::MAX).await;

    // What would grow is refused, with nothing of it taken.
    let refused = append(&storage, &a, going_on.clone(), &bytes).await.unwrap_err();
    assert!(matches!(refused, StorageError::Full { .. }), "{refused:?}");
    assert_eq!(standing(&storage, &a, &going_on.id).await.offset, 0);

    // What has arrived becomes an image, and everything else goes on.
    let blob = close(&storage, &a, state).await.unwrap();
    put(&storage, &a, manifest("x"), &["v1"]).await;
    assert!(
        writer(&storage)
            .mount(&b, Mount::new(&a, &blob.digest))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(read(&storage, &b, &blob.digest).await, Some(bytes.clone()));
    let deleted = writer(&storage)
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    assert!(deleted.is_some());
    assert!(
        writer(&storage)
            .delete_blob(&b, &blob.digest, Deletion::new())
            .await
            .unwrap()
    );
    assert!(writer(&storage).cancel(&a, &going_on.id).await.unwrap());
    drop(storage);

    // With room again, so do uploads.
    let storage = reserving(root.path(), 1).await;
    assert_eq!(push(&storage, &b, &bytes).await.digest, blob.digest);
}
