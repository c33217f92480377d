//! Wrappers of a storage pass on exactly the planes that they declare.

use super::{Backend, support::*};
use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, RepositoryName, Tag,
    storage::{BlobInfo, BlobRead, Listing, Need, Page, ReadBlob, Result, Storage, StoredManifest},
};
use std::sync::Arc;

pub async fn a_shared_storage_is_the_same_storage(backend: Backend) {
    let a = repository("a");
    let shared: Arc<dyn Storage> = Arc::new(Arc::clone(&backend.first));
    assert_eq!(shared.write().is_some(), backend.first.write().is_some());
    assert_eq!(shared.admin().is_some(), backend.first.admin().is_some());

    let bytes = content(1, 1000);
    let blob = push(&*shared, &a, &bytes).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&*shared, &a, image.tagged(&["v1"])).await;

    for storage in [&shared, &backend.second] {
        assert_eq!(read(storage, &a, &blob.digest).await.as_ref(), Some(&bytes));
        assert_eq!(resolve(storage, &a, "v1").await, Some(image.digest()));
    }
}

pub async fn a_wrapper_that_hands_on_no_writing_is_read_only(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    let image = Image::new(1).referring_to(Image::new(2).digest(), "application/vnd.example.signature");
    put(&backend.first, &a, image.tagged(&["v1"])).await;

    let storage: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(&backend.second)));

    assert!(storage.write().is_none());
    assert!(storage.admin().is_none());
    assert_eq!(read(&storage, &a, &blob.digest).await, Some(bytes));
    assert_eq!(resolve(&storage, &a, "v1").await, Some(image.digest()));
    assert_eq!(tags(&storage, &a).await, ["v1"]);
    assert_eq!(texts(&storage.repositories(all()).await.unwrap().items), ["a"]);
    let referrers = storage
        .referrers(&a, &Image::new(2).digest(), None, all())
        .await
        .unwrap();
    assert_eq!(referrers.items.len(), 1);
    assert!(
        storage
            .holders(&blob.digest, all())
            .await
            .unwrap()
            .items
            .is_empty(),
        "not handed on either"
    );
}

/// A wrapper that forwards reads, as anybody would write it; the rest is disabled by default.
#[derive(Debug)]
struct ReadOnly<S>(S);

#[async_trait]
impl<S: Storage> Storage for ReadOnly<S> {
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.0.blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        self.0.open_blob(repository, digest, how).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        self.0.manifest(repository, reference).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        self.0.tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        self.0.referrers(repository, subject, artifact_type, page).await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        self.0.repositories(page).await
    }
}
