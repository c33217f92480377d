//! State found when reopening after an interrupted write, a power loss, or a change by another program.
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
    storage::{NewUpload, ReadBlob, StorageError, Uploader},
};
use registry_storage_fs::{FsStorage, OpenError};
use std::{
    error::Error as _,
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
async fn a_second_owner_is_refused_and_told_who_has_it() {
    let root = tempfile::tempdir().unwrap();
    let first = FsStorage::open(root.path()).unwrap();

    let refused = FsStorage::open(root.path()).unwrap_err();

    let pid = std::process::id();
    assert!(
        matches!(&refused, OpenError::InUse { process: Some(id), .. } if *id == pid),
        "{refused:?}"
    );
    let told = refused.to_string();
    assert!(
        told.contains(&pid.to_string()) && told.contains(root.path().to_str().unwrap()),
        "{told}"
    );
    drop(first);
    FsStorage::open(root.path()).unwrap();
}

#[tokio::test]
async fn read_only_a_directory_is_read_and_never_touched() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let owner = FsStorage::open(root.path()).unwrap();
    push(&owner, &name("a"), &b"content".as_slice().into()).await;
    drop(owner);
    let before = everything_below(root.path());

    let storage = FsStorage::options().read_only().open(root.path()).unwrap();

    assert!(storage.write().is_none());
    let info = storage.blob(&name("a"), &digest).await.unwrap().unwrap();
    assert_eq!(info.size, 7);
    assert_eq!(everything_below(root.path()), before);
    // Nothing is locked either.
    FsStorage::open(root.path()).unwrap();

    let missing = FsStorage::options().read_only().open(root.path().join("missing"));
    assert!(matches!(missing, Err(OpenError::Unusable { .. })));
}

/// The files and directories, with the times of their last change.
fn everything_below(directory: &Path) -> Vec<(std::path::PathBuf, SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(everything_below(&path));
        }
        found.push((path, changed));
    }
    found.sort();
    found
}

/// A reader hears of no deletion, so it must not remember who has what.
#[tokio::test]
async fn a_reader_names_no_holders() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let digest = push(&storage, &a, &content(10)).await.digest;
    let reader = FsStorage::options().read_only().open(root.path()).unwrap();

    assert!(reader.blob(&a, &digest).await.unwrap().is_some());

    assert!(reader.holders(&digest, all()).await.unwrap().items.is_empty());
    assert_eq!(storage.holders(&digest, all()).await.unwrap().items, [a]);
}

#[test]
fn a_root_that_cannot_be_written_is_refused_with_path_and_user() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    fs::write(&file, "x").unwrap();
    // Where even root cannot write: below a file, and in a file system that takes no directories.
    for root in [file.join("below"), "/proc/self/no-registry".into()] {
        let refused = FsStorage::open(&root).unwrap_err();

        assert!(matches!(refused, OpenError::NotWritable { .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains(root.to_str().unwrap()), "{told}");
        let user = rustix::process::geteuid().as_raw();
        assert!(told.contains(&format!("user id {user}")), "{told}");
        assert!(refused.source().is_some());
    }
}

#[test]
fn what_was_staged_is_gone_after_opening() {
    let root = tempfile::tempdir().unwrap();
    let staging = top(root.path()).join("_staging");
    fs::create_dir_all(staging.join("3/current")).unwrap();
    fs::write(staging.join("7"), "half a bl").unwrap();

    let _storage = FsStorage::open(root.path()).unwrap();

    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
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

#[tokio::test]
async fn a_damaged_link_counts_as_absent_and_is_healed() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let blob = push(&storage, &repository, &bytes).await;
    let link = layer_link(root.path(), &repository, &blob.digest);
    for garbage in ["", "sha256:", "\n"] {
        fs::write(&link, garbage).unwrap();
        assert!(storage.blob(&repository, &blob.digest).await.unwrap().is_none());

        push(&storage, &repository, &bytes).await;

        assert!(storage.blob(&repository, &blob.digest).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_damaged_manifest_counts_as_absent_and_is_healed() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let image = manifest("1");
    let digest = *image.digest();
    put(&storage, &repository, image.clone(), &["v1"]).await;
    let damaged = [
        blob_data(root.path(), &digest),
        revision_link(root.path(), &repository, &digest),
    ];
    for file in damaged {
        fs::write(&file, "").unwrap();
        assert!(
            storage
                .manifest(&repository, &tag("v1").into())
                .await
                .unwrap()
                .is_none()
        );

        assert!(put(&storage, &repository, image.clone(), &[]).await.created);

        let found = storage
            .manifest(&repository, &tag("v1").into())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&found.bytes, image.bytes());
    }
    let current = in_repository(root.path(), &repository, "_manifests/tags/v1/current/link");
    fs::write(&current, "").unwrap();
    assert!(
        storage
            .manifest(&repository, &tag("v1").into())
            .await
            .unwrap()
            .is_none()
    );
    put(&storage, &repository, image, &["v1"]).await;
    assert!(
        storage
            .manifest(&repository, &tag("v1").into())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_blob_that_is_damaged_at_its_right_size_is_healed_and_readers_keep_theirs() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let storage = FsStorage::open(root.path()).unwrap();
    let blob = push(&storage, &repository, &bytes).await;
    let data = blob_data(root.path(), &blob.digest);
    fs::write(&data, [7; 1000]).unwrap();
    let reading = storage
        .open_blob(&repository, &blob.digest, ReadBlob::default())
        .await
        .unwrap()
        .unwrap();

    push(&storage, &repository, &bytes).await;

    assert_eq!(read(&storage, &repository, &blob.digest).await, Some(bytes));
    let registry_core::storage::BlobBody::Content(reading) = reading.body else {
        panic!()
    };
    let reading = http_body_util::BodyExt::collect(reading.into_stream())
        .await
        .unwrap();
    assert_eq!(
        reading.to_bytes()[..],
        [7; 1000],
        "the old file to its end, not a mixture"
    );
}

#[tokio::test]
async fn a_blob_that_ends_while_it_is_read_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let blob = push(&storage, &repository, &content(1 << 20)).await;
    let reading = storage
        .open_blob(&repository, &blob.digest, ReadBlob::default())
        .await
        .unwrap()
        .unwrap();
    let registry_core::storage::BlobBody::Content(reading) = reading.body else {
        panic!()
    };

    let data = fs::File::options()
        .write(true)
        .open(blob_data(root.path(), &blob.digest))
        .unwrap();
    data.set_len(1 << 19).unwrap();

    assert!(
        http_body_util::BodyExt::collect(reading.into_stream())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_registry_2_wrote_while_we_were_closed_is_found() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let (first, second) = (manifest("1"), manifest("2"));
    put(&storage, &repository, first, &["v1"]).await;
    put(&storage, &repository, second.clone(), &[]).await;
    drop(storage);
    // It moves a tag by writing into the file.
    let current = in_repository(root.path(), &repository, "_manifests/tags/v1/current/link");
    fs::write(current, second.digest().to_string()).unwrap();

    let storage = FsStorage::open(root.path()).unwrap();

    let found = storage
        .manifest(&repository, &tag("v1").into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, *second.digest());
    let still = storage
        .inspect()
        .unwrap()
        .manifests(&repository, all())
        .await
        .unwrap();
    assert_eq!(still.items.len(), 2, "no revision was changed with the tag");
}
