//! Storage whose results of blob reads a test can change or count.

use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, RepositoryName, Storage, Tag,
    storage::{BlobInfo, BlobRead, Listing, MemoryStorage, Page, ReadBlob, StorageError, StoredManifest},
};
use std::fmt;

type Opened = Result<Option<BlobRead>, StorageError>;

/// Forwards reads to another storage, and converts the results of opened blobs.
pub(crate) struct Wrapped<F> {
    storage: MemoryStorage,
    opened: F,
}

impl<F> Wrapped<F>
where
    F: Fn(ReadBlob, Opened) -> Opened + Send + Sync + 'static,
{
    /// Wraps `storage`. `opened` converts the result of each opened blob.
    pub(crate) const fn new(storage: MemoryStorage, opened: F) -> Self {
        Self { storage, opened }
    }
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrapped")
    }
}

#[async_trait]
impl<F> Storage for Wrapped<F>
where
    F: Fn(ReadBlob, Opened) -> Opened + Send + Sync + 'static,
{
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>, StorageError> {
        self.storage.blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        (self.opened)(how, self.storage.open_blob(repository, digest, how).await)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        self.storage.manifest(repository, reference).await
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>, StorageError> {
        self.storage.tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>, StorageError> {
        let storage = &self.storage;
        storage.referrers(repository, subject, artifact_type, page).await
    }

    async fn repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        self.storage.repositories(page).await
    }
}
