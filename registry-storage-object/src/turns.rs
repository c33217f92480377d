//! [`Turns`]: writers of one record in this process take turns.

use registry_core::{RepositoryName, Tag, UploadId};
use std::hash::{BuildHasher as _, Hash, RandomState};
use tokio::sync::{Mutex, MutexGuard};

/// Number of locks. Two records may share one.
const LOCKS: usize = 256;

/// Locks for records. Without them, writers of one process conflict with each other at the store. Where the store keeps
/// no conditions, they are the only protection.
#[derive(Debug)]
pub(crate) struct Turns {
    locks: Box<[Mutex<()>]>,
    /// Random, so that no client can choose records with the same lock.
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Turns {
    /// Waits until no other writer of this process has the tag. Nobody holds two turns.
    pub(crate) async fn take(&self, repository: &RepositoryName, tag: &Tag) -> MutexGuard<'_, ()> {
        self.take_of((repository, tag)).await
    }

    /// Waits until no other writer of this process has the upload session.
    pub(crate) async fn take_session(&self, id: &UploadId) -> MutexGuard<'_, ()> {
        self.take_of(id).await
    }

    async fn take_of(&self, record: impl Hash + Send) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(record);
        let number = usize::try_from(hash % LOCKS as u64).unwrap_or_default();
        let lock = self
            .locks
            .get(number)
            .expect("the number is below that of the locks");
        lock.lock().await
    }
}
