//! Reads of [`FallbackStorage`], and its planes.

use super::{FallbackStorage, merge::merge};
use crate::{
    descriptor::Descriptor,
    digest::Digest,
    name::RepositoryName,
    reference::{Reference, Tag},
    storage::{
        abilities::Abilities,
        collect::StorageCollect,
        content::{BlobInfo, BlobRead, ReadBlob, StoredManifest},
        error::Result,
        expire::StorageExpire,
        health::StorageHealth,
        inspect::StorageInspect,
        page::{Listing, Page},
        read::Storage,
        referring::Referring,
        repair::StorageRepair,
        trash::StorageTrash,
        write::StorageWrite,
    },
};
use async_trait::async_trait;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<U: Storage, L: Storage> Storage for FallbackStorage<U, L> {
    fn abilities(&self) -> Abilities {
        let (upper, lower) = (self.upper.abilities(), self.lower.abilities());
        Abilities {
            exclusive: upper.exclusive && lower.exclusive,
            redirects: upper.redirects || lower.redirects,
            ..upper
        }
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        match self.upper.blob(repository, digest).await? {
            None => self.lower.blob(repository, digest).await,
            found => Ok(found),
        }
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        match self.upper.open_blob(repository, digest, how).await? {
            None => self.lower.open_blob(repository, digest, how).await,
            found => Ok(found),
        }
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match self.upper.manifest(repository, reference).await? {
            None => self.lower.manifest(repository, reference).await,
            found => Ok(found),
        }
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let upper = self.upper.tags(repository, again(&page)).await?;
        let lower = self.lower.tags(repository, again(&page)).await?;
        Ok(match (upper, lower) {
            (Some(upper), Some(lower)) => Some(merge(page.limit, upper, lower, |tag| tag)),
            (upper, lower) => upper.or(lower),
        })
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let upper = self.upper.referrers(repository, of, again(&page)).await?;
        let lower = self.lower.referrers(repository, of, again(&page)).await?;
        Ok(merge(page.limit, upper, lower, |referrer| &referrer.digest))
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let upper = self.upper.repositories(again(&page)).await?;
        let lower = self.lower.repositories(again(&page)).await?;
        Ok(merge(page.limit, upper, lower, |name| name))
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let upper = self.upper.holders(digest, again(&page)).await?;
        let lower = self.lower.holders(digest, again(&page)).await?;
        Ok(merge(page.limit, upper, lower, |name| name))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.upper.write().map(|_| self as &dyn StorageWrite)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        None
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        None
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        None
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.upper.health().map(|_| self as &dyn StorageHealth)
    }

    // Nothing of the lower storage is ever deleted.
    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.upper.trash()
    }
}

/// Returns the same page, for the other storage.
const fn again<'a, K>(page: &Page<'a, K>) -> Page<'a, K> {
    Page::first(page.limit).after(page.after)
}
