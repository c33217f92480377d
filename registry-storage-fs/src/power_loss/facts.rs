//! Facts about a storage that hold after a loss of power.

use super::{disks::Failure, put_with};
use crate::{
    Durability, FsStorage,
    support::{self, name, push, read, tag},
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType, Reference, RepositoryName, Storage as _, Tag,
    maintenance::{VerifyEvent, VerifyOptions, verify},
    storage::{
        Census, Document, Page, Quarantined, Record, StorageCollect as _, StorageRepair, StorageTrash as _,
        Terms, Trashed, Verified,
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A fact that holds from one acknowledgement until the start of an operation that changes it.
pub(super) struct Fact {
    pub(super) from: usize,
    pub(super) until: usize,
    pub(super) what: What,
}

pub(super) enum What {
    Blob(RepositoryName, Bytes),
    /// A manifest with this content and type.
    Manifest(RepositoryName, Verified<Bytes>, MediaType),
    Tag(RepositoryName, &'static str, Option<Digest>),
    NoBlob(RepositoryName, Digest),
    NoManifest(RepositoryName, Digest),
    /// If this manifest is there, so is this blob.
    Whole(RepositoryName, Digest, Digest),
    /// The tag points at this manifest, or a record says that it did. The same holds for the manifest itself.
    Restorable(RepositoryName, &'static str, Verified<Bytes>),
    /// A deletion of this manifest or of a tag of it, with the tags.
    Recorded(RepositoryName, Digest, &'static [&'static str]),
    /// Each record of a deletion can be restored.
    WholeRecords(RepositoryName),
    /// No record names this manifest.
    NoRecord(RepositoryName, Digest),
    /// A record of the repository names this manifest, or deletions account for the removal of this blob.
    Accounted(RepositoryName, Digest, Digest),
    /// If this manifest is gone and the bytes of this blob are not, a removal accounts for them.
    AccountedOnceGone(RepositoryName, Digest, Digest),
    /// These bytes are under a digest or in quarantine.
    Kept(Digest, &'static str),
    /// These bytes are in quarantine, with their fault.
    Quarantined(Digest, &'static str),
    /// The repository has this blob, or a repair brings it back.
    Mendable(RepositoryName, Digest),
    /// A verification finds nothing.
    Sound,
    /// The directory counts as made by this software.
    Own,
    /// The last collection has left so many manifests.
    Census(u64),
    /// No bytes are stored under this digest.
    NoData(Digest),
    /// The repository does not have this blob, not even without its bytes.
    NoLink(RepositoryName, Digest),
    /// Nothing is left of a repository.
    NoRepository(RepositoryName),
    /// The collectors of registry:2 can walk everything: the directories that they expect are there, and each tag has
    /// its link.
    Walkable,
    /// The same, if the process alone has ended.
    WalkableAfterKill,
    /// Each link contains a digest.
    CompleteLinks,
}

impl What {
    pub(super) async fn check(&self, storage: &FsStorage, when: &str) {
        match self {
            Self::Blob(repository, bytes) => {
                let digest = Digest::of(Algorithm::Sha256, bytes);
                let found = read(storage, repository, &digest).await;
                assert_eq!(found.as_ref(), Some(bytes), "blob {digest} {when}");
            }
            Self::Manifest(repository, manifest, media_type) => {
                assert_manifest(storage, repository, manifest, media_type, when).await;
            }
            Self::Tag(repository, name, expected) => {
                let found = storage.manifest(repository, &tag(name).into()).await.unwrap();
                assert_eq!(found.map(|found| found.digest), *expected, "tag {name} {when}");
            }
            Self::NoBlob(repository, digest) => {
                let found = storage.blob(repository, digest).await.unwrap();
                assert!(found.is_none(), "blob {digest} {when}");
            }
            Self::NoManifest(repository, digest) => {
                let found = storage.manifest(repository, &(*digest).into()).await.unwrap();
                assert!(found.is_none(), "manifest {digest} {when}");
            }
            Self::Whole(repository, manifest, blob) => {
                let found = storage.manifest(repository, &(*manifest).into()).await.unwrap();
                let blob = read(storage, repository, blob).await;
                assert!(
                    found.is_none() || blob.is_some(),
                    "{manifest} lacks its blob {when}"
                );
            }
            Self::Restorable(repository, name, manifest) => {
                assert_restorable(storage, repository, name, manifest, when).await;
            }
            Self::Recorded(repository, digest, tags) => {
                let records = records(storage, repository, digest, when).await;
                let tags: Vec<Tag> = tags.iter().map(|name| tag(name)).collect();
                assert!(
                    records.iter().any(|record| record.tags == tags),
                    "{digest} {when}"
                );
            }
            Self::WholeRecords(repository) => {
                all_records(storage, repository, when).await;
            }
            Self::NoRecord(repository, digest) => {
                let records = records(storage, repository, digest, when).await;
                assert!(records.is_empty(), "{records:?} {when}");
            }
            Self::Accounted(repository, digest, blob) => {
                assert_accounted(storage, repository, digest, blob, when).await;
            }
            Self::AccountedOnceGone(repository, digest, blob) => {
                assert_accounted_once_gone(storage, repository, digest, blob, when).await;
            }
            Self::Kept(digest, bytes) => assert_kept(storage, digest, bytes, when).await,
            Self::Quarantined(digest, bytes) => assert_quarantined(storage, digest, bytes, when).await,
            Self::Mendable(repository, digest) => assert_mendable(storage, repository, digest, when).await,
            Self::Sound => assert_sound(storage, when).await,
            Self::Own => assert!(storage.is_own(), "{when}"),
            Self::Census(manifests) => assert_census(storage, *manifests, when).await,
            Self::NoData(digest) => {
                let data = storage.store().layout.blob(digest);
                assert!(!data.exists(), "the bytes of {digest} {when}");
            }
            Self::NoLink(repository, digest) => {
                let link = storage.store().layout.layer(repository, digest);
                assert!(!link.exists(), "{} {when}", link.display());
            }
            Self::NoRepository(repository) => {
                let directory = storage.store().layout.repositories().join(repository.as_str());
                assert!(!directory.exists(), "{repository} {when}");
            }
            Self::Walkable | Self::WalkableAfterKill => {
                assert_walkable(&storage.store().layout.repositories(), when);
            }
            Self::CompleteLinks => assert_complete_links(&storage.store().layout.repositories(), when),
        }
    }
}

async fn assert_manifest(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: &Verified<Bytes>,
    media_type: &MediaType,
    when: &str,
) {
    let digest = *manifest.digest();
    let found = storage.manifest(repository, &digest.into()).await.unwrap();
    let found = found.unwrap_or_else(|| panic!("manifest {digest} is lost {when}"));
    assert_eq!(&found.bytes, manifest.bytes(), "{when}");
    assert_eq!(&found.media_type, media_type, "{when}");
}

async fn assert_accounted(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: &Digest,
    blob: &Digest,
    when: &str,
) {
    let is_recorded = !records(storage, repository, manifest, when).await.is_empty();
    let released = storage.released(&[*blob]).await.unwrap();
    assert!(
        is_recorded || released == [true],
        "nothing accounts for {blob} {when}"
    );
}

async fn assert_accounted_once_gone(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: &Digest,
    blob: &Digest,
    when: &str,
) {
    let layout = &storage.store().layout;
    if layout.blob(blob).exists() && !layout.revision(repository, manifest).exists() {
        let released = storage.released(&[*blob]).await.unwrap();
        assert_eq!(released, [true], "nothing accounts for {blob} {when}");
    }
}

async fn assert_restorable(
    storage: &FsStorage,
    repository: &RepositoryName,
    name: &str,
    manifest: &Verified<Bytes>,
    when: &str,
) {
    let digest = manifest.digest();
    let at = async |reference: Reference| storage.manifest(repository, &reference).await.unwrap();
    let records = records(storage, repository, digest, when).await;
    let tagged = at(tag(name).into())
        .await
        .is_some_and(|found| found.digest == *digest);
    let is_recorded = records.iter().any(|record| record.tags.contains(&tag(name)));
    assert!(tagged || is_recorded, "tag {name} is lost {when}");
    let there = at((*digest).into()).await.is_some();
    assert!(there || !records.is_empty(), "manifest {digest} is lost {when}");
}

async fn assert_kept(storage: &FsStorage, digest: &Digest, bytes: &str, when: &str) {
    let data = fs::read(storage.store().layout.blob(digest)).ok();
    let is_there = data.is_some_and(|data| data == bytes.as_bytes());
    let items = quarantined(storage, digest).await;
    let is_aside = items.iter().any(|(_, content)| content == bytes.as_bytes());
    assert!(is_there || is_aside, "the bytes of {digest} {when}");
}

async fn assert_quarantined(storage: &FsStorage, digest: &Digest, bytes: &str, when: &str) {
    let items = quarantined(storage, digest).await;
    let is_aside = items
        .iter()
        .any(|(item, content)| content == bytes.as_bytes() && item.reason.contains("bytes with"));
    assert!(is_aside, "{items:?} {when}");
}

async fn assert_census(storage: &FsStorage, manifests: u64, when: &str) {
    let run = storage.begin(Terms::new()).await.unwrap();
    assert_eq!(run.previous, Some(Census::new(manifests)), "{when}");
}

async fn assert_mendable(storage: &FsStorage, repository: &RepositoryName, digest: &Digest, when: &str) {
    let fault = storage.fault(repository, &Record::Blob(*digest)).await.unwrap();
    let is_mendable = fault.as_ref().is_none_or(|fault| fault.mendable);
    assert!(is_mendable, "{fault:?} {when}");
}

async fn assert_sound(storage: &FsStorage, when: &str) {
    let mut found = Vec::new();
    let mut told = |event: VerifyEvent<'_>| {
        if let VerifyEvent::Finding(finding) = event {
            found.push(finding.to_string());
        }
    };
    let report = verify(storage, VerifyOptions::new(), &mut told).await;
    assert_eq!(report.unwrap().wrong, 0, "{found:?} {when}");
}

fn assert_complete_links(repositories: &Path, when: &str) {
    for link in files(repositories).filter(|file| file.ends_with("link")) {
        let link = repositories.join(link);
        let content = fs::read_to_string(&link).unwrap();
        assert!(Digest::parse(&content).is_ok(), "{} {when}", link.display());
    }
}

/// Returns all files below a directory, if there is one.
fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let files = match directory.is_dir() {
        true => support::files(directory),
        false => Vec::new(),
    };
    files.into_iter().map(PathBuf::from)
}

fn assert_walkable(directory: &Path, when: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name == "_manifests" {
            for other in [directory.join("_layers"), path.join("tags")] {
                assert!(other.is_dir(), "{} is missing {when}", other.display());
            }
            for tag in fs::read_dir(path.join("tags")).unwrap() {
                let link = tag.unwrap().path().join("current/link");
                assert!(link.is_file(), "{} is missing {when}", link.display());
            }
        } else if path.is_dir() && !name.to_string_lossy().starts_with('_') {
            assert_walkable(&path, when);
        }
    }
}

/// Returns the items in quarantine of a digest, with their bytes.
async fn quarantined(storage: &FsStorage, digest: &Digest) -> Vec<(Quarantined, Vec<u8>)> {
    let listed = StorageRepair::quarantined(storage, support::all()).await.unwrap();
    let items = listed.items.into_iter().filter(|item| item.id.digest == *digest);
    let with_bytes = items.map(|item| {
        let bytes = fs::read(Path::new(&item.place).join("bytes")).unwrap();
        (item, bytes)
    });
    with_bytes.collect()
}

/// Returns the records that name a manifest.
async fn records(
    storage: &FsStorage,
    repository: &RepositoryName,
    digest: &Digest,
    when: &str,
) -> Vec<Trashed> {
    let mut records = all_records(storage, repository, when).await;
    records.retain(|record| record.digest == *digest);
    records
}

/// Returns all records of a repository. The bytes of each manifest are there.
async fn all_records(storage: &FsStorage, repository: &RepositoryName, when: &str) -> Vec<Trashed> {
    let listed = storage.deleted(repository, Page::first(100)).await.unwrap();
    let mut records = Vec::new();
    for record in listed.items {
        let record = record
            .whole()
            .unwrap_or_else(|| panic!("a record cannot be read {when}"));
        let document = storage.deleted_document(repository, &record.id).await.unwrap();
        assert!(
            matches!(document, Document::Whole(_)),
            "{} is lost {when}",
            record.digest
        );
        records.push(record);
    }
    records
}

pub(super) async fn check(failures: &[Failure], facts: &[Fact]) {
    assert!(failures.len() > 3, "nothing was synced");
    for (number, failure) in failures.iter().enumerate() {
        let Failure {
            acknowledged, how, ..
        } = failure;
        let disk = failure.disk();
        let when = format!("after {acknowledged} operations, at failure {number} with {how}");
        let relaxed = FsStorage::options().durability(Durability::Relaxed);
        let storage = relaxed.open(disk.path()).unwrap();
        for Fact { from, until, what } in facts {
            let concerns = failure.is_whole || !matches!(what, What::WalkableAfterKill);
            let until_then = acknowledged < until || failure.is_at_rest && acknowledged == until;
            if concerns && from <= acknowledged && until_then {
                what.check(&storage, &when).await;
            }
        }
        // A tag that is listed points at something, whatever was going on.
        for repository in [name("a"), name("b")] {
            let tags = storage.tags(&repository, support::all()).await.unwrap();
            for listed in tags.into_iter().flat_map(|tags| tags.items) {
                let found = storage.manifest(&repository, &listed.clone().into()).await;
                assert!(found.unwrap().is_some(), "tag {listed} {when}");
            }
        }
        if !failure.is_rough {
            continue;
        }
        // And whatever is half there is healed by the next push.
        for Fact { what, .. } in facts {
            match what {
                What::Blob(repository, bytes) => {
                    push(&storage, repository, bytes).await;
                }
                What::Manifest(repository, manifest, media_type) => {
                    put_with(&storage, repository, manifest, media_type, &[], "again").await;
                }
                What::Tag(..)
                | What::NoBlob(..)
                | What::NoManifest(..)
                | What::Whole(..)
                | What::Restorable(..)
                | What::Recorded(..)
                | What::WholeRecords(..)
                | What::NoRecord(..)
                | What::Accounted(..)
                | What::AccountedOnceGone(..)
                | What::Kept(..)
                | What::Quarantined(..)
                | What::Mendable(..)
                | What::Sound
                | What::Own
                | What::Census(..)
                | What::NoData(..)
                | What::NoLink(..)
                | What::NoRepository(..)
                | What::Walkable
                | What::WalkableAfterKill
                | What::CompleteLinks => continue,
            }
            what.check(&storage, &format!("{when} and another push")).await;
        }
    }
}
