//! The plane for repairs. Memory is taken to keep what was verified when it was stored, so nothing is ever damaged.

use super::MemoryStorage;
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Reference,
    storage::{
        Checked, Evidence, Fault, FaultKind, Listing, Page, QuarantineId, Quarantined, Record, Result,
        StorageRepair,
    },
};
use async_trait::async_trait;

#[async_trait]
impl StorageRepair for MemoryStorage {
    async fn check(&self, digest: &Digest) -> Result<Checked> {
        let state = self.state();
        let found = state.blobs.get(digest);
        Ok(found.map_or(Checked::Absent, |blob| Checked::sound(blob.bytes.len() as u64)))
    }

    async fn quarantine(&self, _: Evidence) -> Result<bool> {
        Ok(false)
    }

    async fn quarantined(&self, _: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>> {
        Ok(Listing::default())
    }

    async fn remove_quarantined(&self, _: &QuarantineId) -> Result<bool> {
        Ok(false)
    }

    async fn faults(&self, _: &RepositoryName, _: Page<'_, Record>) -> Result<Listing<Fault>> {
        Ok(Listing::default())
    }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        let is_there = match record {
            Record::Blob(digest) => state.blob(repository, digest).is_some(),
            Record::Manifest(digest) => {
                found.is_some_and(|found| found.manifest(&Reference::Digest(*digest)).is_some())
            }
            Record::Tag(tag) => found.is_some_and(|found| found.tags.contains_key(tag)),
            Record::Referrers => true,
        };
        let missing = || {
            let place = format!("{repository}: {record}");
            Fault::new(
                record.clone(),
                FaultKind::Missing,
                place,
                "there is no such record",
            )
        };
        Ok((!is_there).then(missing))
    }

    async fn mend(&self, _: &RepositoryName, _: &Record) -> Result<bool> {
        Ok(false)
    }

    async fn saved_progress(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.state().progress.clone())
    }

    async fn save_progress(&self, progress: Vec<u8>) -> Result<()> {
        self.state().progress = Some(progress);
        Ok(())
    }
}
