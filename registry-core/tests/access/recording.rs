//! Storage that records its calls and forwards them to a [`MemoryStorage`].

use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, RepositoryName, Storage, StorageWrite, Tag, UploadId,
    hash::Hasher,
    storage::{
        Abilities, BlobInfo, BlobRead, Deletion, Listing, MemoryStorage, Mount, NewUpload, Page, PutManifest,
        PutOutcome, ReadBlob, Referring, Result, StorageCollect, StorageExpire, StorageHealth,
        StorageInspect, StorageRepair, StorageTrash, StoredManifest, TagExpect, UploadBody, UploadState,
        Verified,
    },
};
use std::sync::{Arc, Mutex};

/// Clones are handles to the same content and the same record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    pub(crate) storage: MemoryStorage,
    asked: Arc<Mutex<Vec<String>>>,
    users: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    /// Takes the calls since the last call of this method: operation and place.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Takes the changes since the last call of this method: operation, and the user who is recorded for it.
    pub(crate) fn users(&self) -> Vec<String> {
        std::mem::take(&mut *self.users.lock().unwrap())
    }

    fn change_by(
        &self,
        user: Option<&str>,
        operation: &str,
        repository: &RepositoryName,
    ) -> &dyn StorageWrite {
        let user = format!("{operation} {}", user.unwrap_or("nobody"));
        self.users.lock().unwrap().push(user);
        self.change(operation, repository)
    }

    fn ask(&self, operation: &str, place: &str) -> &MemoryStorage {
        let asked = format!("{operation} {}", place);
        self.asked.lock().unwrap().push(asked);
        &self.storage
    }

    fn change(&self, operation: &str, repository: &RepositoryName) -> &dyn StorageWrite {
        self.ask(operation, repository.as_str()).write().unwrap()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Recording {
    fn abilities(&self) -> Abilities {
        self.storage.abilities()
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.ask("blob", repository.as_str())
            .blob(repository, digest)
            .await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let storage = self.ask("open_blob", repository.as_str());
        storage.open_blob(repository, digest, how).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let storage = self.ask("manifest", repository.as_str());
        storage.manifest(repository, reference).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        self.ask("tags", repository.as_str()).tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let storage = self.ask("referrers", repository.as_str());
        storage.referrers(repository, of, page).await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        self.ask("repositories", "").repositories(page).await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        self.ask("holders", "").holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
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

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for Recording {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let write = self.change("open_upload", repository);
        write.open_upload(repository, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        self.change("upload", repository).upload(repository, id).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let write = self.change("append", repository);
        write.append(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let write = self.change("rehash", repository);
        write.rehash(repository, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let write = self.change("commit", repository);
        write.commit(repository, state, proof).await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        self.change("cancel", repository).cancel(repository, id).await
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let write = self.change_by(mount.by.as_deref(), "mount", mount.from);
        write.mount(to, mount).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let write = self.change_by(put.by.as_deref(), "put_manifest", repository);
        write.put_manifest(repository, put).await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let write = self.change_by(how.by.as_deref(), "delete_tag", repository);
        write.delete_tag(repository, tag, expect, how).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let write = self.change_by(how.by.as_deref(), "delete_manifest", repository);
        write.delete_manifest(repository, digest, how).await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        let write = self.change_by(how.by.as_deref(), "delete_blob", repository);
        write.delete_blob(repository, digest, how).await
    }
}
