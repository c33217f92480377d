//! Result of writes when the directory is taken away under a running storage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_core::{
    Algorithm, Digest, RepositoryName, Storage,
    storage::{
        Deletion, Mount, NewUpload, Referring, Result, Seen, StorageError, StorageHealth as _, TagExpect,
        Verified,
    },
};
use registry_storage_fs::FsStorage;
use std::{fs, path::Path};
use support::*;

fn is_unavailable<T>(result: &Result<T>) -> bool {
    matches!(result, Err(StorageError::Unavailable { context, .. }) if context.contains("_owner"))
}

/// Returns the result of every kind of write.
async fn writes(storage: &FsStorage, pushed: &Digest) -> Vec<(&'static str, bool)> {
    let a = name("a");
    let write = writer(storage);
    let put = try_put(storage, &a, manifest("2"), &["v2"]).await;
    let (new, media) = (NewUpload::hashed_by(Algorithm::Sha256), manifest("1"));
    vec![
        ("open", is_unavailable(&write.open_upload(&a, new).await)),
        ("put", is_unavailable(&put)),
        (
            "mount",
            is_unavailable(&write.mount(&name("b"), Mount::new(&a, pushed)).await),
        ),
        (
            "delete_tag",
            is_unavailable(
                &write
                    .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
                    .await,
            ),
        ),
        (
            "delete_manifest",
            is_unavailable(&write.delete_manifest(&a, media.digest(), Deletion::new()).await),
        ),
        (
            "delete_blob",
            is_unavailable(&write.delete_blob(&a, pushed, Deletion::new()).await),
        ),
        ("probe", is_unavailable(&storage.probe().await)),
    ]
}

async fn assert_unavailable(storage: &FsStorage, pushed: &Digest) {
    for (what, is_unavailable) in writes(storage, pushed).await {
        assert!(is_unavailable, "{what}");
    }
}

async fn filled(root: &Path) -> (FsStorage, Digest) {
    let storage = FsStorage::open(root).unwrap();
    let digest = push(&storage, &name("a"), &content(1000)).await.digest;
    let image = manifest("1");
    let subject = image.digest();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let signature = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","artifactType":"a/b","layers":[],"subject":{{"mediaType":"{kind}","digest":"{subject}","size":7}}}}"#
    );
    let signature = Verified::of(Algorithm::Sha256, signature.into());
    put(&storage, &name("a"), signature, &[]).await;
    put(&storage, &name("a"), image, &["v1"]).await;
    (storage, digest)
}

#[tokio::test]
async fn a_staging_area_that_was_removed_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let (storage, _) = filled(root.path()).await;
    let staging = top(root.path()).join("_staging");
    let a = name("a");
    let remove = || fs::remove_dir_all(&staging).unwrap();

    remove();
    let pushed = push(&storage, &a, &content(2000)).await;
    remove();
    put(&storage, &a, manifest("2"), &["v2"]).await;
    remove();
    storage.probe().await.unwrap();
    remove();
    let session = open_upload(&storage, &a).await;
    remove();
    assert!(writer(&storage).cancel(&a, &session.id).await.unwrap());
    remove();
    let gone = writer(&storage)
        .delete_tag(&a, &tag("v2"), TagExpect::Any, Deletion::new())
        .await;

    assert!(gone.unwrap().is_some());
    assert_eq!(read(&storage, &a, &pushed.digest).await, Some(content(2000)));
    let tags = storage.tags(&a, all()).await.unwrap().unwrap();
    assert_eq!(tags.items, [tag("v1")]);
}

#[tokio::test]
async fn nothing_is_written_in_a_directory_that_took_the_place_of_the_owned_one() {
    let root = tempfile::tempdir().unwrap();
    let (storage, digest) = filled(root.path()).await;
    let session = open_upload(&storage, &name("a")).await;
    let away = root.path().join("away");
    let here = root.path().join("docker");
    fs::rename(&here, &away).unwrap();

    // Nothing at all, then nothing but the directories, then one that somebody else owns.
    assert_unavailable(&storage, &digest).await;
    fs::create_dir_all(top(root.path()).join("_staging")).unwrap();
    assert_unavailable(&storage, &digest).await;
    let (other, _) = filled(root.path()).await;
    let before = files(&here);
    assert_unavailable(&storage, &digest).await;
    let a = name("a");
    for refused in [
        append(&storage, &a, session.clone(), &content(10))
            .await
            .map(drop),
        writer(&storage).upload(&a, &session.id).await.map(drop),
        writer(&storage).cancel(&a, &session.id).await.map(drop),
    ] {
        assert!(is_unavailable(&refused), "{refused:?}");
    }
    // Which would complete an index.
    let listed = storage
        .referrers(&a, Referring::new(manifest("1").digest()), all())
        .await;
    assert_eq!(listed.unwrap().items.len(), 1);
    assert_eq!(files(&here), before);
    assert!(!top(root.path()).join("_index/a").exists());
    drop(other);

    // And when it is back, all goes on.
    fs::remove_dir_all(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    storage.probe().await.unwrap();
    append(&storage, &a, session, &content(10)).await.unwrap();
    put(&storage, &a, manifest("2"), &["v2"]).await;
}

/// Returns what is listed as having open sessions.
async fn uploading(storage: &FsStorage) -> Result<Vec<Seen<RepositoryName>>> {
    let listed = storage.inspect().unwrap().uploading(all()).await?;
    Ok(listed.items)
}

#[tokio::test]
async fn nothing_counts_as_gone_while_the_directory_is_away() {
    let root = tempfile::tempdir().unwrap();
    let (storage, digest) = filled(root.path()).await;
    let a = name("a");
    let session = open_upload(&storage, &a).await;
    assert_eq!(uploading(&storage).await.unwrap(), [Seen::Whole(a.clone())]);
    let (here, away) = (root.path().join("docker"), root.path().join("away"));

    fs::rename(&here, &away).unwrap();

    let inspect = storage.inspect().unwrap();
    assert!(is_unavailable(&uploading(&storage).await));
    assert!(is_unavailable(&inspect.uploads(&a, all()).await));
    assert!(is_unavailable(&inspect.all_repositories(all()).await));
    assert!(is_unavailable(&inspect.blobs(all()).await));
    assert!(is_unavailable(&inspect.held_blobs(&a, all()).await));
    assert!(is_unavailable(&inspect.manifests(&a, all()).await));
    assert!(is_unavailable(&inspect.tag_targets(&a, all()).await));
    assert!(is_unavailable(&inspect.document(&a, &digest).await));

    fs::rename(&away, &here).unwrap();
    assert_eq!(uploading(&storage).await.unwrap(), [Seen::Whole(a.clone())]);
    assert!(writer(&storage).cancel(&a, &session.id).await.unwrap());
}

#[tokio::test]
async fn nothing_is_written_once_the_owner_file_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let (storage, digest) = filled(root.path()).await;

    // Else another process could own the directory, too.
    fs::remove_file(top(root.path()).join("_owner")).unwrap();

    assert_unavailable(&storage, &digest).await;
    assert_eq!(read(&storage, &name("a"), &digest).await, Some(content(1000)));
}
