//! Tests of changes by others in the middle of an operation.

use crate::{
    FsStorage,
    support::{
        all, append, blob_data, content, layer_link, name, open_upload, prove, push, read, session, standing,
        writer,
    },
};
use registry_core::{
    Algorithm, Digest, UploadId,
    storage::{StorageError, UploadState},
};
use std::{fs, path::Path};

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
    pauses.at("commit: claimed", move || fs::remove_file(data).unwrap());

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
