//! Tests with a storage that fails, is full, or cannot be written to.

use crate::{every_request, send};
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use registry_core::{
    Algorithm, Descriptor, Digest, Error, Reference, Registry, RepositoryName, Storage, StorageWrite, Tag,
    forward_storage,
    storage::{
        Abilities, BlobInfo, BlobRead, Listing, MemoryStorage, Page, ReadBlob, Referring, Resource,
        StorageError, StoredManifest, UploadState, Verified,
    },
};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Storage whose reads all fail, as on a broken or a full disk.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) fn() -> StorageError);

impl Broken {
    fn error(&self) -> StorageError {
        (self.0)()
    }
}

fn failed() -> StorageError {
    StorageError::io("/secret/path", io::Error::other("secret cause"))
}

fn full() -> StorageError {
    let cause = io::Error::new(io::ErrorKind::StorageFull, "secret cause");
    StorageError::io("/secret/path", cause)
}

fn out_of_files() -> StorageError {
    StorageError::full(Resource::Files, "/secret/path", "secret cause")
}

fn unavailable() -> StorageError {
    StorageError::unavailable("/secret/path was replaced", None, None)
}

/// Returns the error of a read-only storage that is asked to write.
const fn read_only() -> StorageError {
    StorageError::ReadOnly
}

#[async_trait]
impl Storage for Broken {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>, StorageError> {
        Err(self.error())
    }

    async fn open_blob(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        Err(self.error())
    }

    async fn manifest(
        &self,
        _: &RepositoryName,
        _: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        Err(self.error())
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>, StorageError> {
        Err(self.error())
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: Referring<'_>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>, StorageError> {
        Err(self.error())
    }

    async fn repositories(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        Err(self.error())
    }
}

#[tokio::test]
async fn an_outage_is_no_absence_and_its_cause_is_not_for_clients() {
    type Fails = fn() -> StorageError;
    for (error, status, code, message) in [
        (
            failed as Fails,
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the storage failed",
        ),
        (full, StatusCode::FORBIDDEN, "DENIED", "no space left"),
        (
            out_of_files,
            StatusCode::FORBIDDEN,
            "DENIED",
            "no files (inodes) left",
        ),
        (
            unavailable,
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "for now",
        ),
        (
            read_only,
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "read-only",
        ),
    ] {
        let registry = Registry::builder(Broken(error)).allow_anonymous_push().build();
        let reads = every_request()
            .into_iter()
            .filter(|(method, target)| *method == Method::GET && !target.contains("uploads"));
        for (method, target) in reads.chain([(Method::GET, "/v2/_catalog".to_owned())]) {
            let answer = send(&registry, None, method, &target, "").await;
            assert_eq!((answer.status, &*answer.code()), (status, code), "{target}");
            assert!(answer.message().contains(message), "{}", answer.message());
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
            let later = answer.headers.contains_key(header::RETRY_AFTER);
            assert_eq!(later, status == StatusCode::SERVICE_UNAVAILABLE, "{target}");
        }
    }
}

#[tokio::test]
async fn a_storage_without_a_writing_plane_is_read_only() {
    let registry = Registry::builder(Broken(failed)).allow_anonymous_push().build();
    for (method, target) in every_request() {
        if method == Method::GET && !target.contains("uploads") || method == Method::HEAD {
            continue;
        }
        let answer = send(&registry, None, method.clone(), &target, "").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            "{method} {target}"
        );
        assert!(answer.headers.contains_key(header::ALLOW));
    }
}

/// Storage whose next commit fails.
#[derive(Debug, Default)]
struct FailingCommit {
    storage: MemoryStorage,
    has_failed: AtomicBool,
}

#[async_trait]
impl Storage for FailingCommit {
    forward_storage! { Storage: self => &self.storage; except write }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for FailingCommit {
    forward_storage! { StorageWrite: self => self.storage.write(); except commit }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo, StorageError> {
        if !self.has_failed.swap(true, Ordering::SeqCst) {
            return Err(failed());
        }
        let write = self.storage.write().unwrap();
        write.commit(repository, state, proof).await
    }
}

#[tokio::test]
async fn a_close_with_a_body_can_be_repeated_after_the_storage_failed() {
    let registry = Registry::builder(FailingCommit::default()).build();
    let repository = registry.repository("a").unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"first last");
    let upload = repository.open_upload(Algorithm::Sha256).await.unwrap();
    repository.append(&upload.id, None, "first ").await.unwrap();
    let close = async || repository.close(&upload.id, &digest, None, "last").await;

    let failed = close().await;
    let closed = close().await;

    assert!(matches!(failed, Err(Error::Storage(_))), "{failed:?}");
    assert_eq!(closed.unwrap().digest, digest);
}
