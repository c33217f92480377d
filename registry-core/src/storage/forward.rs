//! Shared storages: an `Arc` of a storage is the same storage.

use super::{
    admin::StorageAdmin,
    content::{BlobInfo, BlobRead, ReadBlob, StoredManifest},
    error::Result,
    page::{Listing, Page},
    read::Storage,
    write::StorageWrite,
};
use crate::{
    descriptor::Descriptor,
    digest::Digest,
    name::RepositoryName,
    reference::{Reference, Tag},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Forwards every call and every plane to the shared storage.
#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        (**self).blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        (**self).open_blob(repository, digest, how).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        (**self).manifest(repository, reference).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        (**self).tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        (**self).referrers(repository, subject, artifact_type, page).await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        (**self).repositories(page).await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        (**self).holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        (**self).write()
    }

    fn admin(&self) -> Option<&dyn StorageAdmin> {
        (**self).admin()
    }
}
