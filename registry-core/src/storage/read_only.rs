//! [`ReadOnlyStorage`]: a storage that accepts no changes.

use super::{
    collect::StorageCollect,
    error::{Result, StorageError},
    expire::StorageExpire,
    health::{Space, StorageHealth},
    inspect::StorageInspect,
    page::Page,
    read::Storage,
    repair::{Evidence, QuarantineId, Record, StorageRepair},
    trash::{StorageTrash, TrashId},
    write::StorageWrite,
};
use crate::{forward_storage, name::RepositoryName, reference::Tag};
use async_trait::async_trait;
use std::time::SystemTime;

/// A wrapper that reads from a storage and changes nothing, whoever asks.
///
/// A [registry](crate::service::Builder::read_only) that is read-only refuses changes by clients, and its host can still
/// make them. Through this wrapper nobody can: the planes that write, expire and collect do not exist, and the others
/// refuse every change with [`StorageError::ReadOnly`]. Other handles on the same storage are not affected.
///
/// ```
/// use registry_core::{
///     Registry,
///     storage::{MemoryStorage, ReadOnlyStorage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let writer = Registry::builder(storage.clone()).build().repository("team/app")?;
/// let reader = Registry::builder(ReadOnlyStorage::new(storage)).build().repository("team/app")?;
///
/// let blob = writer.push_blob("content", None).await?;
///
/// assert!(reader.blob(&blob.digest).await?.is_some());
/// assert!(reader.push_blob("other content", None).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnlyStorage<S>(S);

impl<S: Storage> ReadOnlyStorage<S> {
    /// Wraps a storage.
    #[must_use]
    pub const fn new(storage: S) -> Self {
        Self(storage)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for ReadOnlyStorage<S> {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        None
    }

    // Every call of this plane reads.
    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        None
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.0.repair().map(|_| self as &dyn StorageRepair)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.0.health().map(|_| self as &dyn StorageHealth)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.0.trash().map(|_| self as &dyn StorageTrash)
    }
}

/// Finds damage, and repairs nothing.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageRepair for ReadOnlyStorage<S> {
    forward_storage! { StorageRepair: self => self.0.repair(); except quarantine, remove_quarantined, mend, save_progress }

    async fn quarantine(&self, _: Evidence) -> Result<bool> {
        Err(StorageError::ReadOnly)
    }

    async fn remove_quarantined(&self, _: &QuarantineId) -> Result<bool> {
        Err(StorageError::ReadOnly)
    }

    async fn mend(&self, _: &RepositoryName, _: &Record) -> Result<bool> {
        Err(StorageError::ReadOnly)
    }

    async fn save_progress(&self, _: Vec<u8>) -> Result<()> {
        Err(StorageError::ReadOnly)
    }
}

/// Checks by reading, and needs no room.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageHealth for ReadOnlyStorage<S> {
    async fn probe(&self) -> Result<()> {
        self.0.repositories(Page::first(1)).await.map(drop)
    }

    async fn space(&self) -> Result<Option<Space>> {
        match self.0.health() {
            Some(health) => health.space().await,
            None => Ok(None),
        }
    }

    async fn accepts_uploads(&self) -> Result<()> {
        Ok(())
    }
}

/// Lists what was deleted, and removes none of it.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageTrash for ReadOnlyStorage<S> {
    forward_storage! { StorageTrash: self => self.0.trash(); except forget, forget_history }

    async fn forget(&self, _: &RepositoryName, _: &TrashId) -> Result<bool> {
        Err(StorageError::ReadOnly)
    }

    async fn forget_history(&self, _: &RepositoryName, _: &Tag, _: SystemTime) -> Result<bool> {
        Err(StorageError::ReadOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Registry,
        service::ManifestPush,
        storage::{Deletion, MemoryStorage},
    };

    #[tokio::test]
    async fn what_was_deleted_is_listed_and_stays() {
        let storage = MemoryStorage::new();
        let name = RepositoryName::parse("a").unwrap();
        let tag = Tag::parse("v1").unwrap();
        let repository = Registry::builder(storage.clone())
            .build()
            .repository(&name)
            .unwrap();
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let pushed = repository
            .put_manifest(ManifestPush::new(tag.clone(), index))
            .await
            .unwrap();
        let how = Deletion::new();
        repository.delete_tag_at(&tag, pushed.digest, how).await.unwrap();

        let reader = ReadOnlyStorage::new(storage.clone());
        let trash = reader.trash().unwrap();

        let deleted = trash.deleted(&name, Page::first(10)).await.unwrap().items;
        let id = deleted[0].clone().whole().unwrap().id;
        for refused in [
            trash.forget(&name, &id).await,
            trash.forget_history(&name, &tag, SystemTime::UNIX_EPOCH).await,
        ] {
            assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
        }
        let left = storage
            .trash()
            .unwrap()
            .deleted(&name, Page::first(10))
            .await
            .unwrap();
        assert_eq!(left.items, deleted);
    }
}
