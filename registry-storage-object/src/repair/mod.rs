//! The plane for repairs: content that is checked against its digest, the quarantine, and records.
//!
//! Requests:
//!
//! - `check`: 1, and 2 if the content is wrong. The content is read whole.
//! - `quarantine`: 6. The store copies the content itself.
//! - `faults`: N / 1,000 for N objects of the repository, and 2 for each record.
//! - `fault` and `mend`: 2 to 4.

mod check;
mod quarantine;
mod records;
#[cfg(test)]
mod tests;

use crate::{keys, storage::ObjectStorage, store::Store};
use async_trait::async_trait;
use registry_core::{
    Digest, RepositoryName,
    storage::{
        Checked, Evidence, Fault, Listing, Page, QuarantineId, Quarantined, Record, Result, StorageError,
        StorageRepair,
    },
};

#[async_trait]
impl StorageRepair for ObjectStorage {
    async fn check(&self, digest: &Digest) -> Result<Checked> {
        self.store.check(digest).await
    }

    async fn quarantine(&self, evidence: Evidence) -> Result<bool> {
        self.store.require_writable()?;
        self.store
            .finish(|store| async move { store.quarantine(&evidence).await })
            .await
    }

    async fn quarantined(&self, page: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>> {
        self.store.quarantined_page(page).await
    }

    async fn remove_quarantined(&self, id: &QuarantineId) -> Result<bool> {
        self.store.require_writable()?;
        let id = *id;
        self.store
            .finish(|store| async move { store.remove_quarantined(&id).await })
            .await
    }

    async fn faults(&self, repository: &RepositoryName, page: Page<'_, Record>) -> Result<Listing<Fault>> {
        self.store.fault_page(repository, page).await
    }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        self.store.fault(repository, record).await
    }

    async fn mend(&self, repository: &RepositoryName, record: &Record) -> Result<bool> {
        self.store.require_writable()?;
        let (repository, record) = (repository.clone(), record.clone());
        self.store
            .finish(|store| async move { store.mend(&repository, &record).await })
            .await
    }

    async fn saved_progress(&self) -> Result<Option<Vec<u8>>> {
        let saved = self.store.bucket.get(keys::VERIFICATION).await?;
        Ok(saved.map(|saved| saved.bytes.to_vec()))
    }

    async fn save_progress(&self, progress: Vec<u8>) -> Result<()> {
        self.store.require_writable()?;
        self.store.bucket.put(keys::VERIFICATION, progress).await
    }
}

impl Store {
    fn require_writable(&self) -> Result<()> {
        match self.options.read_only {
            true => Err(StorageError::ReadOnly),
            false => Ok(()),
        }
    }
}
