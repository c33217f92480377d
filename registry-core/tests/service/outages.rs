//! Tests with a storage that fails, is full, or cannot be written to.

use crate::{every_request, send};
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use registry_core::{
    Descriptor, Digest, Reference, Registry, RepositoryName, Storage, Tag,
    storage::{Abilities, BlobInfo, BlobRead, Listing, Page, ReadBlob, StorageError, StoredManifest},
};
use std::io;

/// Storage whose reads all fail, as on a broken or a full disk.
#[derive(Debug)]
struct Broken(io::ErrorKind);

impl Broken {
    fn error(&self) -> StorageError {
        StorageError::io("/secret/path", io::Error::new(self.0, "secret cause"))
    }
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
        _: &Digest,
        _: Option<&str>,
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
    for (kind, status, code) in [
        (io::ErrorKind::Other, StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        (io::ErrorKind::StorageFull, StatusCode::FORBIDDEN, "DENIED"),
    ] {
        let registry = Registry::builder(Broken(kind)).allow_anonymous_push().build();
        let reads = every_request()
            .into_iter()
            .filter(|(method, target)| *method == Method::GET && !target.contains("uploads"));
        for (method, target) in reads.chain([(Method::GET, "/v2/_catalog".to_owned())]) {
            let answer = send(&registry, None, method, &target, "").await;
            assert_eq!((answer.status, &*answer.code()), (status, code), "{target}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
        }
    }
}

#[tokio::test]
async fn a_storage_without_a_writing_plane_is_read_only() {
    let registry = Registry::builder(Broken(io::ErrorKind::Other))
        .allow_anonymous_push()
        .build();
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
