//! A custom storage that wraps another: it counts reads, and refuses to delete. A wrapper closes whatever it does not
//! forward, so the maintenance plane is not reachable here.
//!
//! `cargo run -p registry-examples --example own_storage`

use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, Registry, RepositoryName, Storage, StorageWrite, Tag, UploadId,
    hash::Hasher,
    storage::{
        BlobInfo, BlobRead, Listing, MemoryStorage, NewUpload, Page, PutManifest, PutOutcome, ReadBlob,
        Result, StorageError, StoredManifest, TagExpect, UploadBody, UploadState, Verified,
    },
};
use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Keeps all content, and counts how often blobs are read.
#[derive(Debug, Default)]
struct Archive {
    inner: MemoryStorage,
    reads: AtomicUsize,
}

#[async_trait]
impl Storage for Archive {
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.inner.blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.open_blob(repository, digest, how).await
    }

    async fn manifest(&self, repository: &RepositoryName, at: &Reference) -> Result<Option<StoredManifest>> {
        self.inner.manifest(repository, at).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        self.inner.tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        self.inner
            .referrers(repository, subject, artifact_type, page)
            .await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        self.inner.repositories(page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }
}

#[async_trait]
impl StorageWrite for Archive {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        self.inner.open_upload(repository, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        self.inner.upload(repository, id).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        self.inner.append(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        self.inner.rehash(repository, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        self.inner.commit(repository, state, proof).await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        self.inner.cancel(repository, id).await
    }

    async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>> {
        self.inner.mount(from, to, digest).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        self.inner.put_manifest(repository, put).await
    }

    async fn delete_tag(&self, _: &RepositoryName, _: &Tag, _: TagExpect) -> Result<Option<Digest>> {
        Err(StorageError::Unsupported("delete"))
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Digest) -> Result<Option<Vec<Tag>>> {
        Err(StorageError::Unsupported("delete"))
    }

    async fn delete_blob(&self, _: &RepositoryName, _: &Digest) -> Result<bool> {
        Err(StorageError::Unsupported("delete"))
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let archive = std::sync::Arc::new(Archive::default());
    let registry = Registry::builder(std::sync::Arc::clone(&archive)).build();
    let repository = registry.repository("team/app")?;

    let blob = repository.push_blob("kept for good", None).await?;
    for _ in 0..3 {
        repository.open_blob(&blob.digest, ReadBlob::default()).await?;
    }

    println!(
        "{} was read {} times",
        blob.digest,
        archive.reads.load(Ordering::Relaxed)
    );
    match repository.delete_blob(&blob.digest).await {
        Ok(_) => Err("an archive must not delete".into()),
        Err(refused) => {
            println!("deleting it: {} ({refused})", refused.wire().0);
            Ok(())
        }
    }
}
