//! A custom storage that wraps another: it counts reads, and refuses to delete. `forward_storage!` hands on
//! all calls that it does not name. It hands on no plane, so all but writing stay closed here.
//!
//! `cargo run -p registry-examples --example own_storage`

use async_trait::async_trait;
use registry_core::{
    Digest, Registry, RepositoryName, Storage, StorageWrite, Tag, forward_storage,
    storage::{
        BlobRead, Deletion, MemoryStorage, ReadBlob, Result, StorageCollect, StorageError, StorageExpire,
        StorageHealth, StorageInspect, StorageRepair, StorageTrash, TagExpect,
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

/// Reads are handed on, except for the one that is counted. The planes that change and maintain the content are
/// this wrapper's own, or closed.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Archive {
    forward_storage! { Storage: self => &self.inner; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.open_blob(repository, digest, how).await
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
impl StorageWrite for Archive {
    forward_storage! {
        StorageWrite: self => self.inner.write();
        except delete_tag, delete_manifest, delete_blob
    }

    async fn delete_tag(
        &self,
        _: &RepositoryName,
        _: &Tag,
        _: TagExpect,
        _: Deletion,
    ) -> Result<Option<Digest>> {
        Err(StorageError::Unsupported("delete"))
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Digest, _: Deletion) -> Result<Option<Vec<Tag>>> {
        Err(StorageError::Unsupported("delete"))
    }

    async fn delete_blob(&self, _: &RepositoryName, _: &Digest, _: Deletion) -> Result<bool> {
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
