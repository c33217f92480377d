//! The plane for repairs: content that is checked against its digest, the quarantine, and records.

mod check;
mod from_disk;
mod quarantined;
mod records;
#[cfg(test)]
mod tests;

use crate::{FsStorage, error::Context as _, planes::OwnedPage, store::Store, stored_file};
use async_trait::async_trait;
use registry_core::{
    Digest, RepositoryName,
    storage::{
        Checked, Evidence, Fault, FaultKind, Listing, Page, QuarantineId, Quarantined, Record, Result,
        StorageError, StorageRepair,
    },
};
use std::fs;

#[async_trait]
impl StorageRepair for FsStorage {
    async fn check(&self, digest: &Digest) -> Result<Checked> {
        let digest = *digest;
        self.looking(move |store| store.check(&digest)).await
    }

    async fn quarantine(&self, evidence: Evidence) -> Result<bool> {
        self.repairing(move |store| store.quarantine(&evidence)).await
    }

    async fn quarantined(&self, page: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>> {
        let page = OwnedPage::of(&page);
        self.inspecting(move |store| Ok(store.quarantined(&page.page())?))
            .await
    }

    async fn remove_quarantined(&self, id: &QuarantineId) -> Result<bool> {
        let id = *id;
        self.repairing(move |store| Ok(store.remove_quarantined(&id)?))
            .await
    }

    async fn faults(&self, repository: &RepositoryName, page: Page<'_, Record>) -> Result<Listing<Fault>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.looking(move |store| store.faults(&repository, &page.page()))
            .await
    }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        self.find_fault(repository, record).await
    }

    async fn mend(&self, repository: &RepositoryName, record: &Record) -> Result<bool> {
        if let Record::Manifest(_) = record {
            let fault = self.find_fault(repository, record).await?;
            if !fault.is_some_and(|fault| fault.mendable) {
                return Ok(false);
            }
        }
        let (repository, record) = (repository.clone(), record.clone());
        self.repairing(move |store| store.mend(&repository, &record))
            .await
    }

    async fn saved_progress(&self) -> Result<Option<Vec<u8>>> {
        self.inspecting(|store| {
            let path = store.layout.verification();
            Ok(stored_file::read(&path).if_there("read", &path)?)
        })
        .await
    }

    async fn save_progress(&self, progress: Vec<u8>) -> Result<()> {
        self.repairing(move |store| {
            let path = store.layout.verification();
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).at("create", directory)?;
            }
            Ok(store.disk.replace(&path, &progress)?)
        })
        .await
    }
}

impl FsStorage {
    async fn find_fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        let (name, looked_at) = (repository.clone(), record.clone());
        let fault = self.inspecting(move |store| store.fault(&name, &looked_at));
        let fault = fault.await?;
        match (record, fault) {
            (Record::Manifest(digest), Some(fault)) if fault.mendable && fault.kind == FaultKind::Missing => {
                // Otherwise the bytes may be those of another repository.
                let tags = self.list_tags_of(repository, digest, None, 1).await;
                let is_tagged = tags.is_ok_and(|tags| !tags.items.is_empty());
                Ok(Some(fault.with_mendable(is_tagged)))
            }
            (_, fault) => Ok(fault),
        }
    }

    /// Runs a long inspection on a thread of its own.
    async fn looking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.apart(move |store| {
            let found = work(store)?;
            store.disk.require_owned()?;
            Ok(found)
        })
        .await?
    }

    /// Runs a repair, which only the owner of the directory may do.
    async fn repairing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !self.store().is_owned() {
            return Err(StorageError::ReadOnly);
        }
        self.writing(work).await
    }
}
