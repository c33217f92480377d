//! Verification of a directory: damage of every kind is found where it is, and repaired as announced.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

mod support;

use registry_core::{
    Algorithm, Digest, MediaType, Registry, RepositoryName, Storage,
    maintenance::{Finding, FindingKind, Remedy, Repaired, VerifyEvent, VerifyOptions, VerifyReport, verify},
    storage::{Page, Seen, StorageRepair as _},
};
use registry_storage_fs::{Durability, FsStorage};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use support::*;

/// Pseudo-random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
}

/// An image in a directory, written as registry:2 would.
#[derive(Clone, Debug)]
struct Image {
    repository: RepositoryName,
    tag: String,
    manifest: Digest,
    size: usize,
    layer: Digest,
}

fn tag_pointer(root: &Path, image: &Image) -> PathBuf {
    let rest = format!("_manifests/tags/{}/current/link", image.tag);
    in_repository(root, &image.repository, &rest)
}

fn write_blob(root: &Path, repository: &RepositoryName, bytes: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    write(&blob_data(root, &digest), bytes);
    write(&layer_link(root, repository, &digest), digest.to_string());
    digest
}

fn write_manifest(root: &Path, repository: &RepositoryName, document: &Value) -> (Digest, usize) {
    let bytes = document.to_string();
    let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
    write(&blob_data(root, &digest), &bytes);
    write(&revision_link(root, repository, &digest), digest.to_string());
    (digest, bytes.len())
}

fn write_tag(root: &Path, repository: &RepositoryName, tag: &str, target: &Digest) {
    for rest in ["current".to_owned(), format!("index/sha256/{}", target.hex())] {
        let rest = format!("_manifests/tags/{tag}/{rest}/link");
        write(&in_repository(root, repository, &rest), target.to_string());
    }
}

fn write_image(root: &Path, repository: &RepositoryName, tag: &str) -> Image {
    let config = format!(r#"{{"of":"{repository}:{tag}"}}"#);
    let layer = format!("layer of {repository}:{tag}");
    let (config_size, layer_size) = (config.len(), layer.len());
    let config = write_blob(root, repository, config.as_bytes());
    let layer = write_blob(root, repository, layer.as_bytes());
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config, config_size),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer, layer_size)],
    });
    let (manifest, size) = write_manifest(root, repository, &document);
    write_tag(root, repository, tag, &manifest);
    Image {
        repository: repository.clone(),
        tag: tag.to_owned(),
        manifest,
        size,
        layer,
    }
}

/// Writes an index of an image that has no tag of its own.
fn write_index(root: &Path, repository: &RepositoryName, tag: &str) -> Image {
    let child = write_image(root, repository, tag);
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [descriptor(MediaType::OCI_MANIFEST, &child.manifest, child.size)],
    });
    fs::remove_dir_all(in_repository(root, repository, &format!("_manifests/tags/{tag}"))).unwrap();
    let (index, _) = write_manifest(root, repository, &document);
    write_tag(root, repository, tag, &index);
    child
}

async fn collect(storage: &FsStorage) {
    let registry = Registry::builder(storage.clone()).build();
    let report = collections::collect_all(&registry, &|_| {}).await.unwrap();
    assert!(report.stopped.is_none(), "{report:?}");
}

fn open(root: &Path) -> FsStorage {
    let options = FsStorage::options().durability(Durability::Relaxed);
    options.open(root).unwrap()
}

async fn run(storage: &FsStorage, options: VerifyOptions<'_>) -> (VerifyReport, Vec<Finding>) {
    let mut findings = Vec::new();
    let report = verify(storage, options, &mut |event| {
        if let VerifyEvent::Finding(finding) = event {
            findings.push(finding.clone());
        }
    })
    .await
    .unwrap();
    assert_eq!(report.wrong + report.harmless, findings.len() as u64);
    (report, findings)
}

/// Returns every file of the registry with its content, but those of the process that has it open.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let top = top(root);
    let files = files(&top).into_iter();
    let files = files.filter(|file| file.starts_with("blobs/") || file.starts_with("repositories/"));
    files
        .map(|file| (file.clone(), fs::read(top.join(file)).unwrap()))
        .collect()
}

/// Kinds of damage, in the order in which the images of a repository get them before they are shuffled.
const DEFECTS: [&str; 10] = [
    "a flipped byte",
    "a truncated blob",
    "a garbled blob link",
    "a garbled manifest link",
    "a garbled tag",
    "a dangling tag",
    "a lost blob",
    "a lost blob link",
    "a lost manifest",
    "a lost child",
];

/// Damages an image; returns the kind of the finding, and its place if that is a path.
fn inflict(root: &Path, random: &mut Random, defect: &str, image: &Image) -> (FindingKind, Option<PathBuf>) {
    let Image {
        repository,
        manifest,
        layer,
        ..
    } = image;
    let data = blob_data(root, layer);
    let link = layer_link(root, repository, layer);
    let revision = revision_link(root, repository, manifest);
    let garbage = ["", "sha256:", "\0\0\0\0\0", "sha256:e3b0c44298fc1c14"];
    let garbage = garbage[random.below(garbage.len())];
    match defect {
        "a flipped byte" => {
            let mut bytes = fs::read(&data).unwrap();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            fs::write(&data, bytes).unwrap();
            (FindingKind::Corrupt, Some(data))
        }
        "a truncated blob" => {
            let bytes = fs::read(&data).unwrap();
            let kept = 1 + random.below(bytes.len() - 1);
            fs::write(&data, &bytes[..kept]).unwrap();
            (FindingKind::Corrupt, Some(data))
        }
        "a garbled blob link" => {
            fs::write(&link, garbage).unwrap();
            (FindingKind::GarbledBlob, Some(link))
        }
        "a garbled manifest link" => {
            fs::write(&revision, garbage).unwrap();
            (FindingKind::GarbledManifest, Some(revision))
        }
        "a garbled tag" => {
            let pointer = tag_pointer(root, image);
            fs::write(&pointer, garbage).unwrap();
            (FindingKind::GarbledTag, Some(pointer))
        }
        "a dangling tag" => {
            fs::remove_dir_all(revision.parent().unwrap()).unwrap();
            (FindingKind::DanglingTag, None)
        }
        "a lost blob" => {
            fs::remove_file(&data).unwrap();
            (FindingKind::LostBlob, Some(link))
        }
        "a lost blob link" => {
            fs::remove_dir_all(link.parent().unwrap()).unwrap();
            (FindingKind::MissingBlob, Some(link))
        }
        "a lost manifest" => {
            fs::remove_file(blob_data(root, manifest)).unwrap();
            (FindingKind::LostManifest, Some(revision))
        }
        "a lost child" => {
            fs::remove_file(&revision).unwrap();
            (FindingKind::MissingManifest, Some(revision))
        }
        other => panic!("{other}"),
    }
}

fn counts(kinds: &[(FindingKind, u64)]) -> BTreeMap<FindingKind, u64> {
    kinds.iter().copied().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn a_thousand_defects_are_found_one_by_one_and_repaired_as_announced() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut random = Random(7);
    let mut images = Vec::new();
    for number in 0..100 {
        let repository = name(&format!("team{}/app-{number}", number % 7));
        let mut defects = DEFECTS.to_vec();
        for at in (1..defects.len()).rev() {
            defects.swap(at, random.below(at + 1));
        }
        for (number, defect) in defects.into_iter().enumerate() {
            let tag = format!("v{number}");
            let image = match defect {
                "a lost child" => write_index(root, &repository, &tag),
                _ => write_image(root, &repository, &tag),
            };
            images.push((defect, image));
        }
    }
    let (report, findings) = run(&open(root), VerifyOptions::new()).await;
    assert_eq!(findings, [], "a healthy directory");
    assert_eq!(
        (report.repositories, report.manifests, report.tags),
        (100, 1100, 1000)
    );
    assert_eq!((report.blobs, report.wrong, report.harmless), (3100, 0, 0));

    let mut expected = Vec::new();
    for (defect, image) in &images {
        let (kind, place) = inflict(root, &mut random, defect, image);
        let affected = format!("{}:{}", image.repository, image.tag);
        let place = place.map_or_else(|| affected.clone(), |place| place.display().to_string());
        expected.push((kind, place, vec![affected]));
    }
    expected.sort();
    let before = tree(root);

    let reader = FsStorage::options().read_only().open(root).unwrap();
    let (report, findings) = run(&reader, VerifyOptions::new()).await;

    let found = |findings: &[Finding]| {
        let mut found: Vec<_> = findings
            .iter()
            .map(|finding| (finding.kind, finding.place.clone(), finding.affected.tags.clone()))
            .collect();
        found.sort();
        found
    };
    assert_eq!(found(&findings), expected);
    assert_eq!((report.wrong, report.repaired, report.harmless), (1000, 0, 0));
    assert!(
        findings
            .iter()
            .all(|finding| finding.repaired == Repaired::NotTried)
    );

    // So much corruption is likely the fault of the machine.
    let storage = open(root);
    let (report, findings) = run(&storage, VerifyOptions::new().repair(true)).await;
    assert_eq!(found(&findings), expected);
    assert!(report.stopped && report.repaired == 0);
    assert_eq!(tree(root), before, "nothing was changed");

    // A tag is deleted only if that can be undone.
    let dangling = if storage.trash().is_some() { 0 } else { 100 };
    let (report, findings) = run(&storage, VerifyOptions::new().repair(true).force(true)).await;
    assert_eq!(found(&findings), expected);
    assert_eq!((report.wrong, report.repaired), (1000, 700 - dangling));
    assert!(!report.stopped);
    for finding in &findings {
        let has_remedy = finding.remedy != Remedy::None;
        assert_eq!(finding.repaired == Repaired::Done, has_remedy, "{finding}");
    }
    assert_eq!(storage.quarantined().unwrap(), 200);

    let (report, _) = run(&storage, VerifyOptions::new().repair(true)).await;
    let rest = counts(&[
        (FindingKind::LostManifest, 100),
        // With those in quarantine.
        (FindingKind::LostBlob, 300),
        (FindingKind::MissingManifest, 100),
        (FindingKind::DanglingTag, dangling),
    ]);
    assert_eq!((report.kinds, report.repaired), (rest, 0));
}

/// An image in a repository, and a storage.
fn one_image() -> (tempfile::TempDir, FsStorage, Image) {
    let directory = tempfile::tempdir().unwrap();
    let image = write_image(directory.path(), &name("a"), "v1");
    let storage = open(directory.path());
    (directory, storage, image)
}

#[tokio::test]
async fn one_corrupt_blob_is_always_repaired_and_a_push_completes_the_repair() {
    let (directory, storage, image) = one_image();
    let data = blob_data(directory.path(), &image.layer);
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, "").unwrap();

    let (report, findings) = run(&storage, VerifyOptions::new().repair(true)).await;

    assert_eq!(report.kinds, counts(&[(FindingKind::Corrupt, 1)]));
    assert_eq!(findings[0].affected.tags, ["a:v1"]);
    assert_eq!((report.repaired, report.remaining()), (1, 0));
    assert!(
        storage
            .blob(&image.repository, &image.layer)
            .await
            .unwrap()
            .is_none()
    );
    push(&storage, &image.repository, &bytes.into()).await;
    let (report, _) = run(&storage, VerifyOptions::new()).await;
    assert_eq!(report.wrong, 0);
}

/// Nothing reads content that nothing refers to, and it has no size.
#[tokio::test]
async fn a_directory_in_the_place_of_content_is_listed_and_moves_to_quarantine() {
    let (directory, storage, image) = one_image();
    let orphan = Digest::of(Algorithm::Sha256, b"orphan");
    fs::remove_file(blob_data(directory.path(), &image.layer)).unwrap();
    for digest in [image.layer, orphan] {
        fs::create_dir_all(blob_data(directory.path(), &digest)).unwrap();
    }

    let listed = storage.inspect().unwrap().blobs(Page::first(10)).await.unwrap();
    let (report, _) = run(&storage, VerifyOptions::new().repair(true).force(true)).await;

    let unreadable = |digest: Digest| {
        let mut seen = listed.items.iter();
        seen.any(|seen| matches!(seen, Seen::Unreadable { key, .. } if *key == digest))
    };
    assert!(unreadable(image.layer) && unreadable(orphan), "{listed:?}");
    assert_eq!(report.kinds, counts(&[(FindingKind::Corrupt, 2)]));
    assert_eq!((report.repaired, storage.quarantined().unwrap()), (2, 2));
    let listed = storage.inspect().unwrap().blobs(Page::first(10)).await.unwrap();
    assert!(
        listed.items.iter().all(|seen| matches!(seen, Seen::Whole(_))),
        "{listed:?}"
    );
}

#[tokio::test]
async fn an_index_is_affected_by_a_blob_of_a_child() {
    let directory = tempfile::tempdir().unwrap();
    let child = write_index(directory.path(), &name("a"), "v1");
    fs::write(blob_data(directory.path(), &child.layer), "corrupt").unwrap();

    let (_, findings) = run(&open(directory.path()), VerifyOptions::new()).await;

    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(finding.affected.tags, ["a:v1"]);
    assert_eq!(
        (finding.affected.tag_count, finding.affected.manifest_count),
        (1, 2)
    );
}

#[tokio::test]
async fn a_blob_is_reported_once_with_the_images_of_every_repository() {
    let (directory, storage, image) = one_image();
    write_image(directory.path(), &name("b"), "v1");
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &image.layer, 1),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &image.layer, 1)],
    });
    let b = name("b");
    write(
        &layer_link(directory.path(), &b, &image.layer),
        image.layer.to_string(),
    );
    let (manifest, _) = write_manifest(directory.path(), &b, &document);
    for number in 0..30 {
        write_tag(directory.path(), &b, &format!("w{number}"), &manifest);
    }
    fs::write(blob_data(directory.path(), &image.layer), "corrupt").unwrap();

    let (_, findings) = run(&storage, VerifyOptions::new()).await;

    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    let affected = &finding.affected;
    assert_eq!((affected.tag_count, affected.manifest_count), (31, 2));
    assert_eq!(affected.tags[..2], ["a:v1", "b:w0"]);
    assert!(finding.to_string().contains("and 11 more"), "{finding}");
}

/// The collector of registry:2 removes content and leaves the links to it.
#[tokio::test]
async fn what_nothing_needs_is_harmless() {
    let (directory, storage, image) = one_image();
    let gone = write_blob(directory.path(), &image.repository, b"collected");
    fs::remove_dir_all(blob_data(directory.path(), &gone).parent().unwrap()).unwrap();
    let before = tree(directory.path());

    let (report, findings) = run(&storage, VerifyOptions::new().repair(true)).await;

    assert_eq!(report.kinds, counts(&[(FindingKind::Leftover, 1)]));
    assert_eq!((report.wrong, report.harmless), (0, 1));
    assert!(findings[0].is_harmless() && findings[0].affected.is_nothing());
    assert_eq!(tree(directory.path()), before);
}

#[tokio::test]
async fn what_a_client_deleted_is_reported_and_not_brought_back() {
    use registry_core::storage::Deletion;
    let (directory, storage, image) = one_image();
    let write = writer(&storage);
    write
        .delete_blob(&image.repository, &image.layer, Deletion::new())
        .await
        .unwrap();
    collect(&storage).await;

    let (report, findings) = run(&storage, VerifyOptions::new().repair(true)).await;

    assert_eq!(report.kinds, counts(&[(FindingKind::MissingBlob, 1)]));
    assert!(findings[0].reason.contains("deleted"), "{}", findings[0]);
    assert_eq!(report.repaired, 0);
    assert!(
        storage
            .blob(&image.repository, &image.layer)
            .await
            .unwrap()
            .is_none()
    );

    // Nothing tells about the link any more once nothing names the blob.
    let link = layer_link(directory.path(), &image.repository, &image.layer);
    assert!(link.parent().unwrap().exists());
    write
        .delete_manifest(&image.repository, &image.manifest, Deletion::new())
        .await
        .unwrap();
    collect(&storage).await;
    assert!(!link.parent().unwrap().exists());
}

#[tokio::test]
async fn an_index_may_be_sparse_where_that_is_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let child = write_index(directory.path(), &name("a"), "v1");
    fs::remove_file(revision_link(directory.path(), &name("a"), &child.manifest)).unwrap();
    let storage = open(directory.path());

    let (strict, _) = run(&storage, VerifyOptions::new()).await;
    let (sparse, _) = run(&storage, VerifyOptions::new().sparse_indexes(true)).await;

    assert_eq!(strict.kinds, counts(&[(FindingKind::MissingManifest, 1)]));
    assert_eq!(sparse.wrong, 0);
}

#[tokio::test]
async fn a_corrupt_manifest_is_found_even_if_content_is_not_read() {
    let (directory, storage, image) = one_image();
    fs::write(blob_data(directory.path(), &image.manifest), "{}").unwrap();
    fs::write(blob_data(directory.path(), &image.layer), "corrupt").unwrap();

    let (records, findings) = run(&storage, VerifyOptions::new().contents(false)).await;

    assert_eq!(records.kinds, counts(&[(FindingKind::Corrupt, 1)]));
    assert_eq!(findings[0].digest, Some(image.manifest));
    assert_eq!((records.blobs, records.bytes), (0, 0));
}

#[tokio::test]
async fn a_repository_that_cannot_be_read_does_not_hide_the_others() {
    let (directory, storage, image) = one_image();
    let broken = in_repository(directory.path(), &name("b"), "_layers");
    write(&broken.join("sha256"), "in the way");
    fs::write(layer_link(directory.path(), &image.repository, &image.layer), "").unwrap();

    let (report, findings) = run(&storage, VerifyOptions::new()).await;

    let expected = counts(&[(FindingKind::GarbledBlob, 1), (FindingKind::Unreadable, 1)]);
    assert_eq!(report.kinds, expected);
    let unreadable = findings
        .iter()
        .find(|finding| finding.kind == FindingKind::Unreadable);
    let path = broken.display().to_string();
    assert!(unreadable.unwrap().reason.contains(&path), "{findings:?}");
}

#[tokio::test]
async fn a_read_only_storage_is_verified_and_not_repaired() {
    let (directory, storage, image) = one_image();
    drop(storage);
    fs::write(blob_data(directory.path(), &image.layer), "corrupt").unwrap();
    let reader = FsStorage::options().read_only().open(directory.path()).unwrap();

    let (report, _) = run(&reader, VerifyOptions::new()).await;
    let refused = verify(&reader, VerifyOptions::new().repair(true), &mut |_| {}).await;

    assert_eq!(report.wrong, 1);
    assert!(refused.is_err());
    assert!(reader.saved_progress().await.unwrap().is_none());
}
