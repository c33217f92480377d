//! Upload sessions found when reopening after an interrupted write, a power loss, or a change by another program.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, Error, Registry, Storage,
    maintenance::expire_uploads,
    protocol::ContentRange,
    storage::{NewUpload, StorageError, Uploader},
};
use registry_storage_fs::FsStorage;
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use support::*;

/// Changes one field of the record of a session.
fn edit_record(directory: &Path, field: &str, value: serde_json::Value) {
    let path = directory.join("session");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record[field] = value;
    fs::write(path, record.to_string()).unwrap();
}

#[tokio::test]
async fn a_session_goes_on_in_the_next_process_without_reading_back() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(300_000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes.slice(..100_001))
        .await
        .unwrap();
    drop(storage);

    let storage = FsStorage::open(root.path()).unwrap();
    let state = standing(&storage, &repository, &kept.id).await;
    assert_eq!((state.offset, &state.checkpoint), (100_001, &kept.checkpoint));
    let state = append(&storage, &repository, state, &bytes.slice(100_001..))
        .await
        .unwrap();
    assert!(state.checkpoint.is_some());

    let blob = close(&storage, &repository, state).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
    assert_eq!(read(&storage, &repository, &blob.digest).await, Some(bytes));
}

#[tokio::test]
async fn a_session_whose_blob_is_gone_again_is_unknown_and_leaves_no_link() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let state = append(&storage, &repository, state, &bytes).await.unwrap();
    let (state, proof) = prove(&storage, &repository, state).await;
    // A commit that got as far as the rename and no further; then the blob was removed.
    let directory = session(root.path(), &repository, &state.id);
    edit_record(&directory, "committing", digest.to_string().into());
    fs::remove_file(directory.join("data")).unwrap();

    let shown = writer(&storage).upload(&repository, &state.id).await.unwrap();
    let listed = storage
        .inspect()
        .unwrap()
        .uploads(&repository, all())
        .await
        .unwrap();
    let appended = append(&storage, &repository, state.clone(), &bytes).await;
    let committed = writer(&storage).commit(&repository, state, proof).await;

    assert!(shown.is_none());
    assert_eq!(listed.items.len(), 1, "inspection sees it, and expiry ends it");
    let seen = listed.items[0].clone().whole().unwrap();
    assert_eq!(seen.committing, Some(digest), "a collector keeps its blob");
    for refused in [appended.map(drop), committed.map(drop)] {
        assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    }
    assert!(!layer_link(root.path(), &repository, &digest).exists());
    assert!(!directory.exists());
    // And the client starts again.
    push(&storage, &repository, &bytes).await;
    assert_eq!(read(&storage, &repository, &digest).await, Some(bytes));
}

#[tokio::test]
async fn a_session_that_became_a_blob_in_another_boot_is_hashed_and_closed() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let state = append(&storage, &repository, state, &bytes).await.unwrap();
    let directory = session(root.path(), &repository, &state.id);
    let digest = push(&storage, &name("b"), &bytes).await.digest;
    edit_record(&directory, "committing", digest.to_string().into());
    edit_record(&directory, "boot", "another".into());
    fs::remove_file(directory.join("data")).unwrap();
    let state = standing(&storage, &repository, &state.id).await;
    assert_eq!((state.offset, &state.checkpoint), (1000, &None));

    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(blob.digest, digest);
    assert_eq!(read(&storage, &repository, &digest).await, Some(bytes));
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_session_that_has_become_a_blob_is_not_closed_under_another_digest() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let state = append(&storage, &repository, state, &bytes).await.unwrap();
    let directory = session(root.path(), &repository, &state.id);
    let digest = push(&storage, &repository, &bytes).await.digest;
    edit_record(&directory, "committing", digest.to_string().into());
    fs::remove_file(directory.join("data")).unwrap();
    let state = standing(&storage, &repository, &state.id).await;
    let hasher = registry_core::hash::Hasher::new(Algorithm::Sha512);
    let (state, hasher) = writer(&storage).rehash(&repository, state, hasher).await.unwrap();
    let proof = registry_core::storage::Verified::from_hasher(state.id, hasher).unwrap();

    let refused = writer(&storage).commit(&repository, state, proof).await;

    assert!(
        matches!(refused, Err(StorageError::UploadConflict { offset: 1000, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn bytes_beyond_the_record_are_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(2000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes.slice(..1000))
        .await
        .unwrap();
    // What an append leaves that died before it could record anything.
    let data = session(root.path(), &repository, &kept.id).join("data");
    let torn = [&bytes[..1000], &[0xff; 5000]].concat();
    fs::write(&data, torn).unwrap();
    drop(storage);

    let storage = FsStorage::open(root.path()).unwrap();
    let state = standing(&storage, &repository, &kept.id).await;
    assert_eq!(state.offset, 1000);
    let state = append(&storage, &repository, state, &bytes.slice(1000..))
        .await
        .unwrap();
    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(blob.size, 2000);
    assert_eq!(read(&storage, &repository, &blob.digest).await, Some(bytes));
}

#[tokio::test]
async fn a_commit_takes_nothing_beyond_the_record() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let state = append(&storage, &repository, state, &bytes).await.unwrap();
    let data = session(root.path(), &repository, &state.id).join("data");
    fs::write(&data, [&bytes[..], b"torn"].concat()).unwrap();

    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(blob.size, 1000);
    assert_eq!(read(&storage, &repository, &blob.digest).await, Some(bytes));
}

#[tokio::test]
async fn a_session_that_lost_bytes_stands_at_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(2000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes.slice(..1000))
        .await
        .unwrap();
    let data = session(root.path(), &repository, &kept.id).join("data");
    fs::write(&data, &bytes[..600]).unwrap();

    let state = standing(&storage, &repository, &kept.id).await;
    assert_eq!((state.offset, &state.checkpoint), (600, &None));
    let refused = append(&storage, &repository, kept, &bytes.slice(1000..)).await;
    assert!(
        matches!(refused, Err(StorageError::UploadConflict { offset: 600, .. })),
        "{refused:?}"
    );

    let state = append(&storage, &repository, state, &bytes.slice(600..))
        .await
        .unwrap();
    assert_eq!((state.offset, &state.checkpoint), (2000, &None));
    let blob = close(&storage, &repository, state).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
}

#[tokio::test]
async fn a_checkpoint_counts_in_its_own_boot_only() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &content(1000))
        .await
        .unwrap();
    let directory = session(root.path(), &repository, &kept.id);

    edit_record(&directory, "boot", "another boot".into());
    let state = standing(&storage, &repository, &kept.id).await;
    assert_eq!((state.offset, &state.checkpoint), (1000, &None));
}

#[tokio::test]
async fn what_a_power_loss_replaced_is_noticed_at_the_close() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes).await.unwrap();
    let directory = session(root.path(), &repository, &kept.id);
    fs::write(directory.join("data"), [0; 1000]).unwrap();
    edit_record(&directory, "boot", "another boot".into());

    let state = standing(&storage, &repository, &kept.id).await;
    let (_, proof) = prove(&storage, &repository, state).await;

    assert_eq!(*proof.digest(), Digest::of(Algorithm::Sha256, &[0; 1000]));
}

#[tokio::test]
async fn a_session_without_its_hash_state_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes).await.unwrap();
    let state_file = session(root.path(), &repository, &kept.id).join("hashstates/sha256/1000");
    for broken in [Some(&b"sha\x03 too short"[..]), Some(b""), None] {
        match broken {
            Some(content) => fs::write(&state_file, content).unwrap(),
            None => fs::remove_dir_all(state_file.parent().unwrap().parent().unwrap()).unwrap(),
        }
        let state = standing(&storage, &repository, &kept.id).await;
        assert_eq!((state.offset, &state.checkpoint), (1000, &None), "{broken:?}");
    }

    let state = standing(&storage, &repository, &kept.id).await;
    let blob = close(&storage, &repository, state).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
}

#[tokio::test]
async fn a_session_of_registry_2_goes_on_and_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(2000);
    let storage = FsStorage::open(root.path()).unwrap();
    // Only so that there is a good hash state to be left out of account: it says nothing of the boot.
    let ours = open_upload(&storage, &repository).await;
    let ours = append(&storage, &repository, ours, &bytes.slice(..1000))
        .await
        .unwrap();
    fs::remove_file(session(root.path(), &repository, &ours.id).join("session")).unwrap();

    let state = standing(&storage, &repository, &ours.id).await;
    assert_eq!((state.offset, &state.checkpoint), (1000, &None));
    let state = append(&storage, &repository, state, &bytes.slice(1000..))
        .await
        .unwrap();
    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(read(&storage, &repository, &blob.digest).await, Some(bytes));
}

#[tokio::test]
async fn a_session_without_its_start_is_unknown() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    fs::remove_file(session(root.path(), &repository, &state.id).join("startedat")).unwrap();

    assert!(
        writer(&storage)
            .upload(&repository, &state.id)
            .await
            .unwrap()
            .is_none()
    );
    let refused = append(&storage, &repository, state, &content(1)).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
}

#[tokio::test]
async fn whatever_is_left_of_a_session_expires_by_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a/b");
    let storage = FsStorage::open(root.path()).unwrap();
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    let damages: [fn(&Path); 5] = [
        |session| fs::remove_file(session.join("startedat")).unwrap(),
        |session| {
            fs::remove_file(session.join("data")).unwrap();
            fs::remove_file(session.join("session")).unwrap();
            fs::write(session.join("startedat"), "yesterday").unwrap();
        },
        |session| {
            fs::remove_dir_all(session).unwrap();
            fs::create_dir(session).unwrap();
        },
        |session| {
            fs::remove_file(session.join("data")).unwrap();
            fs::create_dir(session.join("data")).unwrap();
        },
        |session| {
            fs::remove_file(session.join("startedat")).unwrap();
            fs::create_dir(session.join("startedat")).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let state = open_upload(&storage, &repository).await;
        damage(&session(root.path(), &repository, &state.id));

        let early = expire_uploads(&storage, now - hour).await.unwrap();
        assert_eq!((early.expired, early.open), (0, 1), "{number}: {early:?}");
        let late = expire_uploads(&storage, now + hour).await.unwrap();

        assert_eq!((late.expired, late.failed), (1, 0), "{number}: {late:?}");
        assert!(!in_repository(root.path(), &repository, "").exists(), "{number}");
    }
}

/// A version that does not know the uploader writes the record without it, and ignores it as this one ignores what it
/// does not know.
#[tokio::test]
async fn records_of_older_and_newer_versions_are_read() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let ann = Some(Uploader::user("ann"));
    let new = NewUpload::hashed_by(Algorithm::Sha256).by(ann.clone());
    let opened = storage
        .write()
        .unwrap()
        .open_upload(&repository, new)
        .await
        .unwrap();
    let added = append(&storage, &repository, opened, &content(1000))
        .await
        .unwrap();
    let directory = session(root.path(), &repository, &added.id);
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("session")).unwrap()).unwrap();
    assert_eq!(record["opened_by"], "user:ann");

    for (field, value, uploader) in [
        ("added_later", serde_json::json!({"a": 1}), &ann),
        ("opened_by", "robot:ann".into(), &None),
        ("opened_by", serde_json::Value::Null, &None),
    ] {
        edit_record(&directory, field, value);
        let found = standing(&storage, &repository, &added.id).await;
        assert_eq!((found.offset, &found.opened_by), (1000, uploader), "{field}");
    }
    let stranger = open_upload(&storage, &repository).await;
    let record = fs::read_to_string(session(root.path(), &repository, &stranger.id).join("session")).unwrap();
    assert!(!record.contains("opened_by"), "{record}");
}

#[tokio::test]
async fn a_commit_that_died_after_the_data_had_moved_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes).await.unwrap();
    let directory = session(root.path(), &repository, &kept.id);
    edit_record(&directory, "committing", digest.to_string().into());
    let data = blob_data(root.path(), &digest);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::rename(directory.join("data"), &data).unwrap();
    drop(storage);

    let storage = FsStorage::open(root.path()).unwrap();
    assert!(
        storage.blob(&repository, &digest).await.unwrap().is_none(),
        "not acknowledged"
    );
    let state = standing(&storage, &repository, &kept.id).await;
    assert_eq!((state.offset, &state.checkpoint), (1000, &kept.checkpoint));
    let refused = append(&storage, &repository, state.clone(), &content(1)).await;
    assert!(
        matches!(refused, Err(StorageError::UploadConflict { offset: 1000, .. })),
        "{refused:?}"
    );

    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(blob.digest, digest);
    assert_eq!(read(&storage, &repository, &digest).await, Some(bytes));
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_close_that_failed_after_the_data_had_moved_is_repeated_with_its_body() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let registry = Registry::builder(storage.clone()).build();
    let cases = [
        ("a", ContentRange::of(6, 6), &b"first second"[..]),
        ("b", None, b"first other!"),
    ];
    for (team, range, bytes) in cases {
        let repository = registry.repository(team).unwrap();
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let last = Bytes::from_static(&bytes[6..]);
        let upload = repository.open_upload(Algorithm::Sha256).await.unwrap();
        repository.append(&upload.id, None, "first ").await.unwrap();
        // No link can be written.
        let layers = root
            .path()
            .join("docker/registry/v2/repositories")
            .join(team)
            .join("_layers");
        fs::write(&layers, "").unwrap();
        let failed = repository.close(&upload.id, &digest, range, last.clone()).await;
        assert!(matches!(failed, Err(Error::Storage(_))), "{failed:?}");
        assert!(blob_data(root.path(), &digest).exists());
        let other = Digest::of(Algorithm::Sha256, b"first");
        let refused = repository.close(&upload.id, &other, range, last.clone()).await;
        assert!(
            matches!(refused, Err(Error::ChunkOutOfOrder { .. })),
            "{refused:?}"
        );
        fs::remove_file(&layers).unwrap();

        let blob = repository.close(&upload.id, &digest, range, last).await.unwrap();

        assert_eq!((blob.digest, blob.size), (digest, 12));
        let stored = read(&storage, &name(team), &digest).await;
        assert_eq!(stored.as_deref(), Some(bytes));
        assert!(repository.upload(&upload.id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_commit_that_died_before_the_data_had_moved_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &repository).await;
    let kept = append(&storage, &repository, state, &bytes).await.unwrap();
    let directory = session(root.path(), &repository, &kept.id);
    edit_record(&directory, "committing", digest.to_string().into());

    let state = standing(&storage, &repository, &kept.id).await;
    let blob = close(&storage, &repository, state).await.unwrap();

    assert_eq!(blob.digest, digest);
    assert_eq!(read(&storage, &repository, &digest).await, Some(bytes));
}
