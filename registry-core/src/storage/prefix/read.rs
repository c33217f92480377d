//! Reads of [`PrefixStorage`], and its closed planes.

use super::{PrefixStorage, undated};
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
impl<S: Storage> Storage for PrefixStorage<S> {
    fn abilities(&self) -> Abilities {
        self.storage.abilities().with_holders(true)
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let Some(full) = self.prefix.find(repository)? else {
            return Ok(None);
        };
        let blob = self.storage.blob(&full, digest).await?;
        Ok(blob.map(|blob| self.held(repository, blob)))
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let Some(full) = self.prefix.find(repository)? else {
            return Ok(None);
        };
        let read = self.storage.open_blob(&full, digest, how).await?;
        Ok(read.map(|read| BlobRead {
            info: undated(read.info),
            ..read
        }))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match self.prefix.find(repository)? {
            Some(full) => self.storage.manifest(&full, reference).await,
            None => Ok(None),
        }
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        match self.prefix.find(repository)? {
            Some(full) => self.storage.tags(&full, page).await,
            None => Ok(None),
        }
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        match self.prefix.find(repository)? {
            Some(full) => self.storage.referrers(&full, of, page).await,
            None => Ok(Listing::default()),
        }
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        self.prefix.repositories(&self.storage, page).await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let mut holding = Vec::new();
        for repository in self.holders.after(digest, page.after) {
            // It may have been deleted or collected through another handle.
            if self.blob(&repository, digest).await?.is_some() {
                holding.push(repository);
            } else {
                self.holders.remove(digest, &repository);
            }
        }
        Ok(Listing::first(page.limit, holding))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.storage.write().map(|_| self as &dyn StorageWrite)
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
        None
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        None
    }
}
