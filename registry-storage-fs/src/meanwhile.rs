//! Tests of changes by others in the middle of an operation.

use crate::{
    FsStorage,
    pauses::Point,
    support::{
        all, append, blob_data, content, layer_link, name, open_upload, prove, push, read, session, standing,
        writer,
    },
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use registry_core::{
    Algorithm, Digest, UploadId,
    hash::Checkpoint,
    storage::{StorageError, UploadBody, UploadState, Verified},
};
use std::{fs, path::Path, pin::pin};

/// A session of 1000 bytes in the repository `a` whose commit died when it had moved them to their place.
async fn moved(root: &Path, storage: &FsStorage) -> (UploadState, Digest) {
    let (a, bytes) = (name("a"), content(1000));
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let state = open_upload(storage, &a).await;
    let state = append(storage, &a, state, &bytes).await.unwrap();
    let mut claimed = storage.store().claim(&a, &state).unwrap();
    storage.store().keep(&mut claimed.session, Some(&digest)).unwrap();
    drop(claimed);
    let data = blob_data(root, &digest);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::rename(session(root, &a, &state.id).join("data"), data).unwrap();
    (standing(storage, &a, &state.id).await, digest)
}

#[tokio::test]
async fn a_commit_whose_blob_goes_before_the_link_is_unknown_and_leaves_no_link() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let (state, digest) = moved(root.path(), &storage).await;
    let id = state.id;
    let (state, proof) = prove(&storage, &a, state).await;
    let data = blob_data(root.path(), &digest);
    let pauses = &storage.store().pauses;
    pauses.at(Point::CommitClaimed, move || fs::remove_file(data).unwrap());

    let refused = writer(&storage).commit(&a, state, proof).await;

    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    assert!(!layer_link(root.path(), &a, &digest).exists());
    assert!(!session(root.path(), &a, &id).exists());
    push(&storage, &a, &content(1000)).await;
    assert_eq!(read(&storage, &a, &digest).await, Some(content(1000)));
}

/// Nobody can resume it, so a retry is of no use.
#[tokio::test]
async fn a_session_whose_blob_is_gone_is_unknown_also_while_it_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (state, digest) = moved(root.path(), &storage).await;
    let _in_use = storage.store().uploads.try_lock(state.id).unwrap();
    fs::remove_file(blob_data(root.path(), &digest)).unwrap();

    let refused = append(&storage, &name("a"), state, &content(1)).await;

    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
}

#[tokio::test]
async fn a_session_that_is_being_opened_has_a_record_and_is_not_taken_for_gone() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (store, a, id) = (storage.store(), name("a"), UploadId::from_random([1; 16]));

    let opened = store.recorded(&a, id, || {
        assert!(store.layout.session_record(&id).exists());
        // Maintenance comes by, and finds no directory yet.
        store.uploading(&all())
    });

    assert_eq!(opened.unwrap().items, [registry_core::storage::Seen::Whole(a)]);
    assert_eq!(store.open_uploads.known().all(), 1);
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_has_no_record() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let store = storage.store();
    let id = UploadId::from_random([1; 16]);

    let failed = store.recorded(&name("a"), id, || {
        Err::<(), _>(StorageError::internal("the disk is full"))
    });

    assert!(failed.is_err());
    assert!(!store.layout.session_record(&id).exists());
    assert_eq!(store.open_uploads.known().all(), 0);
}

/// Appends the rest of a body as a closing request does, and returns the state and the proof for the commit.
async fn append_closing(
    storage: &FsStorage,
    state: UploadState,
    rest: &Bytes,
    digest: Digest,
) -> (UploadState, Verified) {
    let body = pin!(Full::new(rest.clone()).map_err(|never| match never {}));
    let mut body = UploadBody::new(body, &state, Some(digest));
    let closing = writer(storage)
        .append(&name("a"), state, &mut body)
        .await
        .unwrap();
    let proof = Verified::from_hasher(closing.id, body.finish().unwrap()).unwrap();
    (closing, proof)
}

#[tokio::test]
async fn a_close_that_fails_is_repeated_with_its_body_also_by_the_next_process() {
    let root = tempfile::tempdir().unwrap();
    let mut storage = FsStorage::open(root.path()).unwrap();
    let (a, bytes) = (name("a"), content(5000));
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let state = open_upload(&storage, &a).await;
    let id = state.id;
    append(&storage, &a, state, &bytes.slice(..1000)).await.unwrap();
    // A file in place of the directory for the blob.
    let data = blob_data(root.path(), &digest);
    let blobs = data.ancestors().nth(2).unwrap();
    fs::create_dir_all(blobs.parent().unwrap()).unwrap();
    fs::write(blobs, "in the way").unwrap();

    for _ in 0..2 {
        let state = standing(&storage, &a, &id).await;
        assert_eq!(state.offset, 1000);
        assert_eq!(state.checkpoint.as_ref().map(Checkpoint::offset), Some(1000));
        let (closing, proof) = append_closing(&storage, state, &bytes.slice(1000..), digest).await;
        let failed = writer(&storage).commit(&a, closing, proof).await;
        assert!(matches!(failed, Err(StorageError::Internal { .. })), "{failed:?}");
        drop(storage);
        storage = FsStorage::open(root.path()).unwrap();
    }
    fs::remove_file(blobs).unwrap();
    let state = standing(&storage, &a, &id).await;
    let (closing, proof) = append_closing(&storage, state, &bytes.slice(1000..), digest).await;
    writer(&storage).commit(&a, closing, proof).await.unwrap();

    assert_eq!(read(&storage, &a, &digest).await, Some(bytes));
    assert!(!session(root.path(), &a, &id).exists());
}
