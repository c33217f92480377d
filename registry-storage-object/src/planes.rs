//! The contracts of the core, each call handed to the module of its subject.

use crate::storage::ObjectStorage;
use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, RepositoryName, Tag, UploadId,
    hash::Hasher,
    storage::{
        Abilities, BlobInfo, BlobRead, Deletion, Document, Listing, LostTag, Mount, NewUpload, Page,
        PutManifest, PutOutcome, ReadBlob, Referring, Result, Seen, Storage, StorageCollect, StorageError,
        StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash, StorageWrite,
        StoredManifest, TagEvent, TagExpect, TrashId, Trashed, UploadBody, UploadState, Verified,
    },
};
use std::time::SystemTime;

#[async_trait]
impl Storage for ObjectStorage {
    fn abilities(&self) -> Abilities {
        Abilities::none()
            .with_conditional_tags(true)
            .with_shared_sessions(true)
            .with_durable(true)
            .with_holders(true)
            .with_min_chunk(Some(self.store.options.part_size))
            .with_redirects(self.store.options.redirects.is_some() && self.store.bucket.signs())
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.store.blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        self.store.open_blob(repository, digest, how).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        self.store.manifest(repository, reference).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let (repository, after, limit) = (repository.clone(), page.after.cloned(), page.limit);
        // A long scan serves the next page also if this one is no longer waited for.
        self.store
            .finish(move |store| async move {
                let page = Page::first(limit).after(after.as_ref());
                store.tag_page(&repository, page).await
            })
            .await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        self.store.referrer_page(repository, of, page).await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let (after, limit) = (page.after.cloned(), page.limit);
        self.store
            .finish(move |store| async move {
                let page = Page::first(limit).after(after.as_ref());
                store.repository_page(page).await
            })
            .await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        Ok(self.store.holder_page(digest, &page))
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        (!self.store.options.read_only).then_some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        (!self.store.options.read_only).then_some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        (!self.store.options.read_only).then_some(self)
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        Some(self)
    }
}

#[async_trait]
impl StorageWrite for ObjectStorage {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        self.store.open_upload(repository, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        self.store.upload(repository, id).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        self.store.append(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        self.store.rehash(repository, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let repository = repository.clone();
        self.store
            .finish(|store| async move { store.commit(&repository, state, proof).await })
            .await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        let (repository, id) = (repository.clone(), *id);
        self.store
            .finish(|store| async move { store.cancel(&repository, &id).await })
            .await
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        self.store.mount(to, mount).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let repository = repository.clone();
        self.store
            .finish(|store| async move { store.put_manifest_with_hints(&repository, put).await })
            .await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.store
            .finish(|store| async move { store.delete_tag_with_hints(&repository, &tag, expect, how).await })
            .await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.store
            .finish(|store| async move { store.delete_manifest_with_hints(&repository, &digest, how).await })
            .await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        let (repository, digest) = (repository.clone(), *digest);
        self.store
            .finish(|store| async move { store.delete_blob_with_hints(&repository, &digest, how).await })
            .await
    }
}

#[async_trait]
impl StorageExpire for ObjectStorage {
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        let (repository, seen) = (repository.clone(), seen.clone());
        self.store
            .finish(|store| async move { store.expire_upload(&repository, &seen).await })
            .await
    }
}

#[async_trait]
impl StorageTrash for ObjectStorage {
    async fn with_deleted(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        self.store.with_deleted(page).await
    }

    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        self.store.deleted(repository, page).await
    }

    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        self.store.deleted_document(repository, id).await
    }

    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        if self.store.options.read_only {
            return Err(StorageError::ReadOnly);
        }
        let (repository, id) = (repository.clone(), *id);
        self.store
            .finish(|store| async move { store.forget_deletion(&repository, &id).await })
            .await
    }

    async fn with_histories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        self.store.with_histories(page).await
    }

    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        if self.store.options.read_only {
            return Err(StorageError::ReadOnly);
        }
        let (repository, tag) = (repository.clone(), tag.clone());
        self.store
            .finish(|store| async move { store.forget_history(&repository, &tag, ended_before).await })
            .await
    }

    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>> {
        self.store.with_history(repository, page).await
    }

    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        self.store.history(repository, tag).await
    }

    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        self.store.lost_tags(repository, page).await
    }
}
