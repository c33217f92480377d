//! Storage whose results of blob reads a test can change or count.

use async_trait::async_trait;
use registry_core::{
    Digest, RepositoryName, Storage, StorageWrite, forward_storage,
    storage::{
        Abilities, BlobRead, MemoryStorage, ReadBlob, StorageCollect, StorageError, StorageExpire,
        StorageHealth, StorageInspect, StorageRepair, StorageTrash,
    },
};
use std::fmt;

type Opened = Result<Option<BlobRead>, StorageError>;

/// Forwards reads to another storage, and converts the results of opened blobs.
pub(crate) struct Wrapped<F> {
    storage: MemoryStorage,
    abilities: Abilities,
    opened: F,
}

impl<F> Wrapped<F>
where
    F: Fn(ReadBlob, Opened) -> Opened + Send + Sync + 'static,
{
    /// Wraps `storage`. `opened` converts the result of each opened blob.
    pub(crate) fn new(storage: MemoryStorage, opened: F) -> Self {
        Self {
            abilities: storage.abilities(),
            storage,
            opened,
        }
    }

    /// Sets the declared abilities.
    pub(crate) fn declaring(self, abilities: Abilities) -> Self {
        Self { abilities, ..self }
    }
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrapped")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<F> Storage for Wrapped<F>
where
    F: Fn(ReadBlob, Opened) -> Opened + Send + Sync + 'static,
{
    forward_storage! { Storage: self => &self.storage; except abilities, open_blob }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        (self.opened)(how, self.storage.open_blob(repository, digest, how).await)
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        None
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
