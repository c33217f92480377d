//! Treatment of content that is found damaged, on disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_core::{
    Algorithm, Digest, MediaType, Reference, RepositoryName, Storage,
    storage::{Deletion, Mount, Need, Needed, PutManifest, Result, StorageError, Verified},
};
use registry_storage_fs::FsStorage;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use support::*;

/// Puts a manifest that needs a blob of that size, so that a blob of another size is looked into.
async fn look_at(storage: &FsStorage, repository: &RepositoryName, digest: Digest, size: u64) -> Result<()> {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let mut put = PutManifest::new(manifest("looks"), media_type);
    put.needs = vec![Needed::new(digest, size, Need::Blob)];
    writer(storage).put_manifest(repository, put).await.map(drop)
}

fn is_missing(result: &Result<()>, digest: &Digest) -> bool {
    matches!(result, Err(StorageError::MissingReferences(missing)) if *missing == [*digest])
}

fn quarantine(root: &Path, digest: &Digest) -> PathBuf {
    top(root).join(format!("_quarantine/{}/{}", digest.algorithm(), digest.hex()))
}

#[tokio::test]
async fn a_damaged_blob_moves_to_quarantine_with_where_from_and_why() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let digest = push(&storage, &repository, &bytes).await.digest;
    assert_eq!(storage.quarantined().unwrap(), 0);

    for number in 1..=2 {
        fs::write(blob_data(root.path(), &digest), &bytes[..400]).unwrap();
        let looked = look_at(&storage, &repository, digest, 1000).await;

        assert!(is_missing(&looked, &digest), "{looked:?}");
        assert!(!blob_data(root.path(), &digest).exists());
        let item = quarantine(root.path(), &digest).join(number.to_string());
        assert_eq!(fs::read(item.join("bytes")).unwrap(), &bytes[..400]);
        let why = fs::read_to_string(item.join("why")).unwrap();
        let actual = Digest::of(Algorithm::Sha256, &bytes[..400]).to_string();
        for part in ["400 bytes", &actual, "blobs/sha256/", "found: 20"] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert_eq!(storage.quarantined().unwrap(), number);

        push(&storage, &repository, &bytes).await;
        look_at(&storage, &repository, digest, 1000).await.unwrap();
        assert_eq!(read(&storage, &repository, &digest).await, Some(bytes.clone()));
    }
    drop(storage);
    let reopened = FsStorage::options().read_only().open(root.path()).unwrap();
    assert_eq!(reopened.quarantined().unwrap(), 2);
}

#[tokio::test]
async fn a_blob_that_registry_2_keeps_under_another_digest_is_set_aside_under_that_one() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let target = push(&storage, &repository, &bytes).await.digest;
    let alias = Digest::of(Algorithm::Sha512, &bytes);
    let link = layer_link(root.path(), &repository, &alias);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(link, target.to_string()).unwrap();
    fs::write(blob_data(root.path(), &target), &bytes[..999]).unwrap();

    let looked = look_at(&storage, &repository, alias, 1000).await;

    assert!(is_missing(&looked, &alias), "{looked:?}");
    assert!(quarantine(root.path(), &target).join("1/bytes").exists());
    for digest in [alias, target] {
        assert!(storage.blob(&repository, &digest).await.unwrap().is_none());
    }
    push(&storage, &repository, &bytes).await;
    look_at(&storage, &repository, alias, 1000).await.unwrap();
}

#[tokio::test]
async fn a_directory_where_a_blob_belongs_is_damage() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let digest = push(&storage, &repository, &bytes).await.digest;
    let replace = || {
        fs::remove_file(blob_data(root.path(), &digest)).unwrap();
        fs::create_dir_all(blob_data(root.path(), &digest).join("below")).unwrap();
    };

    replace();
    assert!(storage.blob(&repository, &digest).await.unwrap().is_none());
    let looked = look_at(&storage, &repository, digest, 1000).await;
    assert!(is_missing(&looked, &digest), "{looked:?}");
    assert!(quarantine(root.path(), &digest).join("1/bytes/below").is_dir());
    push(&storage, &repository, &bytes).await;

    // And where nobody has looked before the push.
    replace();
    push(&storage, &repository, &bytes).await;
    assert!(quarantine(root.path(), &digest).join("2/bytes/below").is_dir());
    assert_eq!(read(&storage, &repository, &digest).await, Some(bytes));
}

/// Opening or reading one of these as a file would wait forever.
#[tokio::test]
async fn pipes_sockets_and_devices_where_files_belong_are_damage_and_keep_nobody_waiting() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let bytes = content(1000);
    let image = manifest("1");
    let digest = *image.digest();
    let v1 = Reference::Tag(tag("v1"));
    let media_type = in_repository(
        root.path(),
        &a,
        &format!("_manifests/media-types/sha256/{}", digest.hex()),
    );
    fs::create_dir_all(media_type.parent().unwrap()).unwrap();
    for kind in ["pipe", "open pipe", "socket", "device"] {
        let mut open = Vec::new();
        let mut replace = |file: &Path| {
            let _ = fs::remove_file(file);
            match kind {
                "device" => symlink("/dev/zero", file).unwrap(),
                "socket" => mknodat(CWD, file, FileType::Socket, Mode::RWXU, 0).unwrap(),
                _ => mknodat(CWD, file, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            }
            if kind == "open pipe" {
                open.push(fs::File::options().read(true).write(true).open(file).unwrap());
            }
        };
        let layer = push(&storage, &a, &bytes).await.digest;
        put(&storage, &a, image.clone(), &["v1"]).await;
        let files = [
            layer_link(root.path(), &a, &layer),
            blob_data(root.path(), &layer),
            revision_link(root.path(), &a, &digest),
            blob_data(root.path(), &digest),
            in_repository(root.path(), &a, "_manifests/tags/v1/current/link"),
        ];
        // Each alone first, because nothing is read behind it.
        for file in &files {
            let whole = fs::read(file).unwrap();
            replace(file);
            let absent = [
                storage.manifest(&a, &v1).await.unwrap().is_none(),
                storage.blob(&a, &layer).await.unwrap().is_none(),
                read(&storage, &a, &layer).await.is_none(),
                is_missing(&look_at(&storage, &a, layer, 1000).await, &layer),
            ];
            let is_of_layer = files.iter().take(2).any(|of_layer| of_layer == file);
            assert_eq!(
                absent,
                [!is_of_layer, is_of_layer, is_of_layer, is_of_layer],
                "{kind}: {file:?}"
            );
            let _ = fs::remove_file(file);
            fs::write(file, whole).unwrap();
        }
        replace(&media_type);
        assert!(storage.manifest(&a, &v1).await.unwrap().is_some(), "{kind}");

        for file in &files {
            replace(file);
        }
        push(&storage, &a, &bytes).await;
        put(&storage, &a, image.clone(), &["v1"]).await;

        let found = storage.manifest(&a, &v1).await.unwrap().unwrap();
        assert_eq!(found.bytes, *image.bytes(), "{kind}");
        assert_eq!(read(&storage, &a, &layer).await, Some(bytes.clone()), "{kind}");
    }
}

#[tokio::test]
async fn a_directory_where_a_link_or_a_manifest_belongs_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let bytes = content(1000);
    let layer = push(&storage, &repository, &bytes).await.digest;
    let image = manifest("1");
    let digest = *image.digest();
    put(&storage, &repository, image.clone(), &["v1"]).await;
    let files = [
        layer_link(root.path(), &repository, &layer),
        revision_link(root.path(), &repository, &digest),
        in_repository(root.path(), &repository, "_manifests/tags/v1/current/link"),
        in_repository(
            root.path(),
            &repository,
            &format!("_manifests/tags/v1/index/sha256/{}/link", digest.hex()),
        ),
        in_repository(
            root.path(),
            &repository,
            &format!("_manifests/media-types/sha256/{}", digest.hex()),
        ),
        blob_data(root.path(), &digest),
    ];
    for file in &files {
        let _ = fs::remove_file(file);
        fs::create_dir_all(file.join("below")).unwrap();
    }
    let v1 = Reference::Tag(tag("v1"));
    assert!(storage.manifest(&repository, &v1).await.unwrap().is_none());
    assert!(storage.blob(&repository, &layer).await.unwrap().is_none());

    assert!(
        !writer(&storage)
            .delete_blob(&repository, &layer, Deletion::new())
            .await
            .unwrap()
    );
    push(&storage, &repository, &bytes).await;
    put(&storage, &repository, image.clone(), &["v1"]).await;

    let found = storage.manifest(&repository, &v1).await.unwrap().unwrap();
    assert_eq!(found.bytes, *image.bytes());
    assert_eq!(read(&storage, &repository, &layer).await, Some(bytes));
    // What the bytes say themselves has no file.
    let left = files.iter().filter(|file| !file.is_file());
    assert!(left.eq([&files[4]]) && !files[4].exists());
}

#[tokio::test]
async fn a_directory_where_a_link_belongs_is_set_aside_by_a_push_and_by_a_mount() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (a, b) = (name("a"), name("b"));
    let bytes = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    for repository in [&a, &b] {
        fs::create_dir_all(layer_link(root.path(), repository, &digest).join("below")).unwrap();
    }

    push(&storage, &a, &bytes).await;
    assert_eq!(read(&storage, &a, &digest).await, Some(bytes.clone()));
    assert!(quarantine(root.path(), &digest).join("1/bytes/below").is_dir());

    let mounted = writer(&storage).mount(&b, Mount::new(&a, &digest)).await.unwrap();
    assert_eq!(mounted.unwrap().digest, digest);
    assert_eq!(read(&storage, &b, &digest).await, Some(bytes));
    assert!(quarantine(root.path(), &digest).join("2/bytes/below").is_dir());
}

#[tokio::test]
async fn a_directory_where_a_media_type_belongs_is_set_aside_by_a_push_and_by_a_deletion() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let image = manifest("1");
    let digest = *image.digest();
    let file = in_repository(
        root.path(),
        &a,
        &format!("_manifests/media-types/sha256/{}", digest.hex()),
    );
    // The bytes say another one.
    let media_type = MediaType::parse("application/vnd.example").unwrap();
    fs::create_dir_all(file.join("below")).unwrap();

    let put = PutManifest::new(image, media_type.clone());
    writer(&storage).put_manifest(&a, put).await.unwrap();
    let found = storage.manifest(&a, &Reference::Digest(digest)).await.unwrap();
    assert_eq!(found.unwrap().media_type, media_type);
    assert!(quarantine(root.path(), &digest).join("1/bytes/below").is_dir());

    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("below")).unwrap();
    let deleted = writer(&storage)
        .delete_manifest(&a, &digest, Deletion::new())
        .await
        .unwrap();
    assert!(deleted.is_some());
    assert!(!file.exists());
    assert!(quarantine(root.path(), &digest).join("2/bytes/below").is_dir());
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_damaged_nor_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let digest = push(&storage, &repository, &content(1000)).await.digest;
    let data = blob_data(root.path(), &digest);
    // Opening the first fails, also for root: too many levels of symbolic links. Reading the second fails with EIO.
    for unreadable in [&*data, Path::new("/proc/self/mem")] {
        fs::remove_file(&data).unwrap();
        symlink(unreadable, &data).unwrap();

        let looked = look_at(&storage, &repository, digest, 1000).await;

        assert!(matches!(looked, Err(StorageError::Internal { .. })), "{looked:?}");
        assert!(data.symlink_metadata().is_ok());
        assert_eq!(storage.quarantined().unwrap(), 0);
        assert!(!top(root.path()).join("_quarantine").exists());
    }
}

#[tokio::test]
async fn a_handle_that_reads_only_shows_no_damaged_manifest_and_moves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let repository = name("a");
    let image = manifest("1");
    let digest = *image.digest();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &repository, image.clone(), &["v1"]).await;
    drop(storage);
    let data = blob_data(root.path(), &digest);
    let mut flipped = image.bytes().to_vec();
    *flipped.last_mut().unwrap() = b' ';
    fs::write(&data, &flipped).unwrap();

    let reader = FsStorage::options().read_only().open(root.path()).unwrap();

    for reference in [Reference::Digest(digest), Reference::Tag(tag("v1"))] {
        assert!(reader.manifest(&repository, &reference).await.unwrap().is_none());
    }
    assert_eq!(fs::read(&data).unwrap(), flipped);
    assert!(!top(root.path()).join("_quarantine").exists());
}

#[tokio::test]
async fn a_manifest_is_hashed_in_the_algorithm_of_what_its_link_says() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let image = manifest("1");
    let bytes = image.bytes().clone();
    put(&storage, &repository, image, &[]).await;
    // As registry:2 links what was pushed by its sha512.
    let alias = Digest::of(Algorithm::Sha512, &bytes);
    let link = revision_link(root.path(), &repository, &alias);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(link, Digest::of(Algorithm::Sha256, &bytes).to_string()).unwrap();

    let found = storage
        .manifest(&repository, &Reference::Digest(alias))
        .await
        .unwrap();

    let found = found.unwrap();
    assert_eq!((found.digest, &found.bytes), (alias, &bytes));
    // And content that the link never meant is nobody's.
    let other = Verified::of(Algorithm::Sha256, bytes);
    let wrong = Digest::of(Algorithm::Sha256, b"another");
    let data = blob_data(root.path(), &wrong);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::write(data, other.bytes()).unwrap();
    fs::write(revision_link(root.path(), &repository, &alias), wrong.to_string()).unwrap();
    let found = storage
        .manifest(&repository, &Reference::Digest(alias))
        .await
        .unwrap();
    assert!(found.is_none());
}
