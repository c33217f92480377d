//! The faults of reads.

use super::{Fault::*, Mutant};
use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, MediaType, Reference, RepositoryName, Tag, forward_storage,
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Listing, Page, ReadBlob, Referring, Result, Storage,
        StorageCollect, StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash,
        StorageWrite, StoredManifest,
    },
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Mutant {
    forward_storage! {
        Storage: self => &self.memory;
        except abilities, blob, open_blob, manifest, tags, referrers, repositories, holders
    }

    fn abilities(&self) -> Abilities {
        let abilities = self.memory.abilities();
        match self.fault {
            ConditionsIgnored => abilities.with_conditional_tags(false),
            DurableOverstated => abilities.with_durable(true),
            RedirectsOverstated => abilities.with_redirects(true),
            SmallChunksRefused => abilities.with_min_chunk(Some(1024)),
            _ => abilities,
        }
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let repository = self.holder(BlobsLeak, repository, digest).await;
        self.memory.blob(&repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let repository = self.holder(BlobsLeak, repository, digest).await;
        let how = if self.has(RangesIgnored) {
            ReadBlob::default()
        } else {
            how
        };
        let mut read = self.memory.open_blob(&repository, digest, how).await?;
        if let Some(read) = &mut read
            && how.allow_redirect
            && self.has(RedirectsUndeclared)
        {
            read.body = BlobBody::Redirect("https://bucket.example/blob".parse().unwrap());
        }
        Ok(read)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let mut found = self.memory.manifest(repository, reference).await?;
        if let Some(manifest) = &mut found
            && self.has(MediaTypesForgotten)
        {
            manifest.media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
        }
        Ok(found)
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let limit = page.limit;
        let after = page.after.cloned();
        let mut listing = self.memory.tags(repository, page).await?;
        if let Some(found) = &mut listing {
            if let Some(after) = after
                && self.has(PagesOverlap)
            {
                found.items.insert(0, after);
                found.items.truncate(limit);
            }
            found.more &= !self.has(MoreForgotten);
        }
        Ok(listing.filter(|found| !self.has(EmptyIsAbsent) || !found.items.is_empty()))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let artifact_type = of.artifact_type.filter(|_| !self.has(FilterIgnored));
        self.memory
            .referrers(repository, of.of_type(artifact_type), page)
            .await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        if !self.has(RepositoriesWalked) {
            return self.memory.repositories(page).await;
        }
        let everything = Page::first(usize::MAX);
        let walked =
            |name: &RepositoryName| -> Vec<String> { name.as_str().split('/').map(str::to_owned).collect() };
        let mut names = self.memory.repositories(everything).await?.items;
        names.sort_by_key(walked);
        let after = page.after.map(walked);
        names.retain(|name| after.as_ref().is_none_or(|after| walked(name) > *after));
        Ok(Listing::first(page.limit, names))
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        if self.has(HoldersOverstated) {
            return Ok(Listing::default());
        }
        self.memory.holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.memory.collect()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.memory.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}
