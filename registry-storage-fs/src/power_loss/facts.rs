//! Facts about a storage that hold after a loss of power.

use super::{disks::Failure, put_with};
use crate::{
    Durability, FsStorage,
    support::{self, name, push, read, tag},
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType, Reference, RepositoryName, Storage as _, Tag,
    storage::{Document, Page, StorageTrash as _, Trashed, Verified},
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
                let digest = *manifest.digest();
                let found = storage.manifest(repository, &digest.into()).await.unwrap();
                let found = found.unwrap_or_else(|| panic!("manifest {digest} is lost {when}"));
                assert_eq!(&found.bytes, manifest.bytes(), "{when}");
                assert_eq!(&found.media_type, media_type, "{when}");
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
            Self::Recorded(repository, digest, tags) => {
                let records = records(storage, repository, digest, when).await;
                let tags: Vec<Tag> = tags.iter().map(|name| tag(name)).collect();
                assert!(
                    records.iter().any(|record| record.tags == tags),
                    "{digest} {when}"
                );
            }
        }
    }
}

/// Returns the records that name a manifest, whose bytes are all there.
async fn records(
    storage: &FsStorage,
    repository: &RepositoryName,
    digest: &Digest,
    when: &str,
) -> Vec<Trashed> {
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
        if record.digest == *digest {
            records.push(record);
        }
    }
    records
}

pub(super) async fn check(failures: &[Failure], facts: &[Fact]) {
    assert!(failures.len() > 3, "nothing was synced");
    for (number, failure) in failures.iter().enumerate() {
        let Failure {
            disk,
            acknowledged,
            how,
        } = failure;
        let when = format!("after {acknowledged} operations, at failure {number} with {how}");
        let relaxed = FsStorage::options().durability(Durability::Relaxed);
        let storage = relaxed.open(disk.path()).unwrap();
        for Fact { from, until, what } in facts {
            if from <= acknowledged && acknowledged < until {
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
                | What::Recorded(..) => continue,
            }
            what.check(&storage, &format!("{when} and another push")).await;
        }
    }
}
