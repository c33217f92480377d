//! State found when reopening after an interrupted write, a power loss, or a change by another program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_core::{
    Algorithm, Digest, Reference, Storage,
    storage::{ReadBlob, Seen},
};
use registry_storage_fs::{FsStorage, OpenError};
use std::{error::Error as _, fs, path::Path, time::SystemTime};
use support::*;

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

/// Otherwise other content would be served under a digest that it does not have.
#[tokio::test]
async fn a_link_to_another_digest_counts_as_absent_and_is_healed() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let storage = FsStorage::open(root.path()).unwrap();
    let other = push(&storage, &repository, &content(10)).await;
    let blob = push(&storage, &repository, &content(1000)).await;
    let link = layer_link(root.path(), &repository, &blob.digest);
    fs::write(&link, other.digest.to_string()).unwrap();
    assert!(storage.blob(&repository, &blob.digest).await.unwrap().is_none());
    push(&storage, &repository, &content(1000)).await;
    assert!(storage.blob(&repository, &blob.digest).await.unwrap().is_some());

    let (first, second) = (*manifest("1").digest(), *manifest("2").digest());
    put(&storage, &repository, manifest("2"), &["v2"]).await;
    put(&storage, &repository, manifest("1"), &["v1"]).await;
    let link = revision_link(root.path(), &repository, &first);
    fs::write(&link, second.to_string()).unwrap();
    for reference in [Reference::Digest(first), Reference::Tag(tag("v1"))] {
        assert!(storage.manifest(&repository, &reference).await.unwrap().is_none());
    }
    let listed = storage
        .inspect()
        .unwrap()
        .manifests(&repository, all())
        .await
        .unwrap();
    let unreadable = listed
        .items
        .iter()
        .filter(|item| matches!(item, Seen::Unreadable { key, .. } if *key == first));
    assert_eq!(unreadable.count(), 1);
    put(&storage, &repository, manifest("1"), &["v1"]).await;
    assert!(
        storage
            .manifest(&repository, &Reference::Digest(first))
            .await
            .unwrap()
            .is_some()
    );
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

/// Retention goes by this time. A time that is only set in place may be lost with the power.
#[tokio::test]
async fn a_put_of_what_is_there_writes_the_link_of_the_manifest_again() {
    use std::os::unix::fs::MetadataExt as _;
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let digest = *manifest("1").digest();
    put(&storage, &a, manifest("1"), &["v1"]).await;
    let link = revision_link(root.path(), &a, &digest);
    let long_ago = SystemTime::UNIX_EPOCH;
    let before = fs::File::options().write(true).open(&link).unwrap();
    before.set_modified(long_ago).unwrap();

    put(&storage, &a, manifest("1"), &["v1"]).await;

    let after = fs::metadata(&link).unwrap();
    assert!(after.modified().unwrap() > long_ago);
    assert_ne!(after.ino(), before.metadata().unwrap().ino());
}
