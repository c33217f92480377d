//! A directory does not grow with what comes and goes: after a collection, it has only what manifests name.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod support;

use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType, Registry, RepositoryName,
    storage::{Deletion, Need, Needed, PutManifest, TagMove, Verified},
};
use registry_storage_fs::{Durability, FsStorage};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use support::{collections::collect_all, *};
use tempfile::TempDir;

/// Creates a directory in memory if possible.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn open(root: &Path) -> FsStorage {
    let options = FsStorage::options().durability(Durability::Relaxed);
    options.open(root).unwrap()
}

async fn collect(storage: &FsStorage) {
    let registry = Registry::builder(storage.clone()).build();
    let report = collect_all(&registry, &|_| {}).await.unwrap();
    assert!(report.stopped.is_none() && report.pins.is_empty(), "{report:?}");
}

/// Returns everything below a directory, without the directories into which blobs are sorted by their first two digits:
/// there are at most 256 of an algorithm.
fn tree(root: &Path) -> BTreeSet<String> {
    fn visit(directory: &Path, top: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                visit(&path, top, found);
            }
            if !name.starts_with("blobs/") || name.split('/').count() != 3 {
                found.insert(name);
            }
        }
    }
    let (top, mut found) = (top(root), BTreeSet::new());
    visit(&top, &top, &mut found);
    found
}

fn needed(bytes: &Bytes) -> Needed {
    Needed::new(
        Digest::of(Algorithm::Sha256, bytes),
        bytes.len() as u64,
        Need::Blob,
    )
}

fn document(media_type: &str, field: &str, named: &[Needed], seed: usize) -> Verified<Bytes> {
    let entry = |of: &Needed| {
        let media_type = match of.need {
            Need::Manifest => MediaType::OCI_MANIFEST,
            _ => "application/octet-stream",
        };
        json!({ "mediaType": media_type, "digest": of.digest.to_string(), "size": of.size })
    };
    let entries: Vec<_> = named.iter().map(entry).collect();
    let seed = json!({ "seed": seed.to_string() });
    let document =
        json!({ "schemaVersion": 2, "mediaType": media_type, field: entries, "annotations": seed });
    Verified::of(Algorithm::Sha256, document.to_string().into())
}

async fn put_needing(
    storage: &FsStorage,
    repository: &RepositoryName,
    document: &Verified<Bytes>,
    needs: &[Needed],
    media_type: &str,
    tags: &[&str],
) {
    let mut put = PutManifest::new(document.clone(), MediaType::parse(media_type).unwrap());
    put.needs = needs.to_vec();
    put.tags = tags.iter().map(|text| TagMove::new(tag(text))).collect();
    writer(storage).put_manifest(repository, put).await.unwrap();
}

/// Pushes an image with two layers. Returns it with its layers.
async fn push_image(
    storage: &FsStorage,
    repository: &RepositoryName,
    seed: usize,
    tags: &[&str],
) -> (Verified<Bytes>, [Needed; 2]) {
    let layers = [format!("{seed} a"), format!("{seed} b")].map(Bytes::from);
    for layer in &layers {
        push(storage, repository, layer).await;
    }
    let needs = layers.each_ref().map(needed);
    let image = document(MediaType::OCI_MANIFEST, "layers", &needs, seed);
    put_needing(storage, repository, &image, &needs, MediaType::OCI_MANIFEST, tags).await;
    (image, needs)
}

/// Moves tags, deletes what it has pushed, partly in an unusual order, and leaves one image at `stays`.
async fn round(storage: &FsStorage, number: usize) {
    let (a, passing) = (name("a"), name(&format!("passing/{number}/x")));
    let write = writer(storage);
    let seed = number * 10;
    let (first, layers) = push_image(storage, &a, seed, &["moves", "stays"]).await;
    push_image(storage, &a, seed + 1, &["moves", "stays"]).await;
    for layer in &layers {
        assert!(
            write
                .delete_blob(&a, &layer.digest, Deletion::new())
                .await
                .unwrap()
        );
    }
    let deleted = write.delete_manifest(&a, first.digest(), Deletion::new()).await;
    assert!(deleted.unwrap().is_some());

    let (child, _) = push_image(storage, &a, seed + 2, &[]).await;
    let child = Needed::new(*child.digest(), child.size(), Need::Manifest);
    let index = document(MediaType::OCI_INDEX, "manifests", &[child], seed);
    // The media type is kept in a file of its own.
    put_needing(storage, &a, &index, &[child], "text/plain", &["moves"]).await;
    let deleted = write.delete_manifest(&a, index.digest(), Deletion::new()).await;
    assert!(deleted.unwrap().is_some());

    let stray = Bytes::from(format!("stray {number}"));
    push(storage, &a, &stray).await;
    let digest = needed(&stray).digest;
    assert!(write.delete_blob(&a, &digest, Deletion::new()).await.unwrap());
    let session = open_upload(storage, &a).await;
    assert!(write.cancel(&a, &session.id).await.unwrap());
    push_image(storage, &passing, seed, &["v1"]).await;
    let deleted = write
        .delete_manifest(&passing, first.digest(), Deletion::new())
        .await;
    assert!(deleted.unwrap().is_some());
    collect(storage).await;
}

/// Returns the number of entries of each shape: a digest stands for all of its kind. A history is kept for a time, also of
/// a tag that is gone.
fn shapes(root: &Path) -> BTreeMap<String, usize> {
    let mut shapes = BTreeMap::new();
    for name in tree(root) {
        let parts = name.split('/').map(|part| match part.len() {
            64 => "digest",
            // The first two digits of a digest.
            2 => "..",
            _ => part,
        });
        let shape = parts.collect::<Vec<_>>().join("/");
        if !shape.starts_with("_history/") {
            *shapes.entry(shape).or_default() += 1;
        }
    }
    shapes
}

#[tokio::test]
async fn what_comes_and_goes_leaves_neither_files_nor_directories() {
    let root = scratch();
    let storage = open(root.path());
    for number in 0..3 {
        round(&storage, number).await;
    }
    let few = shapes(root.path());
    for number in 3..30 {
        round(&storage, number).await;
    }

    let many = shapes(root.path());
    let grown = many
        .iter()
        .filter(|(shape, count)| few.get(*shape) != Some(*count));
    assert_eq!(grown.collect::<Vec<_>>(), []);
    assert_eq!(few.len(), many.len());
}

/// A process may end between the creation of a directory and that of its file.
#[tokio::test]
async fn what_a_crash_leaves_is_gone_after_one_collection() {
    let root = scratch();
    let storage = open(root.path());
    let a = name("a");
    push_image(&storage, &a, 1, &["v1"]).await;
    collect(&storage).await;
    let clean = tree(root.path());
    assert!(storage.close().await);
    let gone = Digest::of(Algorithm::Sha256, b"gone");
    for file in [
        blob_data(root.path(), &gone),
        layer_link(root.path(), &a, &gone),
        revision_link(root.path(), &a, &gone),
        in_repository(
            root.path(),
            &a,
            "_uploads/0e5b2cb5-1a52-4b8a-8c41-5d4e4e0a1ed0/hashstates/sha256/0",
        ),
        in_repository(
            root.path(),
            &name("b"),
            "_uploads/0e5b2cb5-1a52-4b8a-8c41-5d4e4e0a1ed1/data",
        ),
    ] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    let media_type = in_repository(root.path(), &a, "_manifests/media-types/sha256");
    fs::create_dir_all(&media_type).unwrap();
    fs::write(media_type.join(gone.hex()), "text/plain").unwrap();

    let storage = open(root.path());
    collect(&storage).await;

    let left: Vec<String> = tree(root.path()).difference(&clean).cloned().collect();
    let media_types = "repositories/a/_manifests/media-types";
    assert_eq!(left, [media_types.to_owned(), format!("{media_types}/sha256")]);
}

/// Registry:2 reads them when such a manifest is deleted.
#[tokio::test]
async fn a_tag_keeps_those_of_its_earlier_targets_that_are_there() {
    let root = scratch();
    let storage = open(root.path());
    let a = name("a");
    let mut images = Vec::new();
    for seed in 0..4 {
        let (image, _) = push_image(&storage, &a, seed, &["v1", &format!("also{seed}")]).await;
        images.push(*image.digest());
    }
    let write = writer(&storage);
    let deleted = write.delete_manifest(&a, &images[1], Deletion::new()).await;
    assert!(deleted.unwrap().is_some());
    // The record of the manifest that the tag points at is lost.
    fs::remove_file(revision_link(root.path(), &a, &images[3])).unwrap();

    collect(&storage).await;

    let targets = in_repository(root.path(), &a, "_manifests/tags/v1/index/sha256");
    let left: BTreeSet<String> = files(&targets).into_iter().collect();
    let expected = [0, 2, 3].map(|image| format!("{}/link", images[image].hex()));
    assert_eq!(left, BTreeSet::from(expected));
}
