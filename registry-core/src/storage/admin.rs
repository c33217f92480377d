//! [`StorageAdmin`]: the contract for maintenance.

use super::{
    content::BlobInfo,
    error::Result,
    page::{Listing, Page},
    upload::UploadState,
};
use crate::{digest::Digest, name::RepositoryName, upload_id::UploadId};
use async_trait::async_trait;

/// Lists the stored content and expires uploads, for scrubs, expiry and garbage collection.
#[async_trait]
pub trait StorageAdmin: Send + Sync {
    /// Returns every stored blob of all repositories, including manifests if the backend stores them as
    /// blobs.
    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<BlobInfo>>;

    /// Returns the blobs that a repository holds.
    async fn links(&self, repository: &RepositoryName, page: Page<'_, Digest>) -> Result<Listing<LinkInfo>>;

    /// Returns the manifests of a repository, tagged or not.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<BlobInfo>>;

    /// Returns the open upload sessions of a repository, in the order of their ids.
    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<UploadState>>;

    /// Returns every repository with an open session, including those that do not exist for readers yet.
    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Ends a session as [`cancel`](super::StorageWrite::cancel) does, if its state is still `seen` and it
    /// is not in use. Returns false otherwise.
    ///
    /// # Errors
    ///
    /// [`ReadOnly`](super::StorageError::ReadOnly) from a read-only handle. Nothing was changed, and its
    /// listings still work.
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool>;
}

/// A blob that a repository holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Digest of the blob in this repository.
    pub digest: Digest,
    /// Digest under which it is stored. It differs where registry:2 stored a sha512 blob under its sha256.
    /// A collector marks both.
    pub target: Digest,
}

impl LinkInfo {
    /// Describes the blob `digest`, stored as `target`.
    #[must_use]
    pub const fn new(digest: Digest, target: Digest) -> Self {
        Self { digest, target }
    }
}
