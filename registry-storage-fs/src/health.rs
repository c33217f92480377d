//! The plane for health: the free space of the directory, whether it accepts uploads, and whether it can be written.

use crate::{
    condition::{measure, require},
    error::Context as _,
    store::{FsStorage, Store},
};
use async_trait::async_trait;
use registry_core::storage::{Resource, Result, Space, StorageError, StorageHealth};
use std::fs;

#[async_trait]
impl StorageHealth for FsStorage {
    /// Writes a small file in the staging area for blobs, reads it back and removes it. If the storage was opened
    /// read-only, it lists the directory instead.
    async fn probe(&self) -> Result<()> {
        self.blocking(Store::probe).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.blocking(|store| store.space().map(Some)).await
    }

    /// Checks that at least [`min_free`](crate::FsOptions::min_free) is free.
    async fn accepts_uploads(&self) -> Result<()> {
        self.blocking(|store| store.require_room(0)).await
    }
}

impl Store {
    /// Checks that enough space stays free after an upload of at least `announced` bytes.
    pub(crate) fn require_room(&self, announced: u64) -> Result<()> {
        if self.min_free == 0 || !self.is_owned() {
            return Ok(());
        }
        let free = self.space()?.bytes_free;
        require(free, self.min_free, announced).map_err(|low| {
            let context = format!("cannot accept an upload in {}", self.layout.top().display());
            StorageError::full(Resource::Bytes, context, low)
        })
    }

    fn space(&self) -> Result<Space> {
        let top = self.layout.top();
        Ok(measure(top).at("measure the free space of", top)?)
    }

    fn probe(&self) -> Result<()> {
        const CONTENT: &[u8] = b"written by a health check\n";
        if !self.is_owned() {
            let repositories = self.layout.repositories();
            fs::read_dir(&repositories).if_there("list", &repositories)?;
            return Ok(());
        }
        let staged = self.disk.stage()?;
        fs::write(&staged.path, CONTENT).at("write", &staged.path)?;
        let read = fs::read(&staged.path).at("read", &staged.path)?;
        fs::remove_file(&staged.path).at("remove", &staged.path)?;
        if read == CONTENT {
            Ok(())
        } else {
            Err(StorageError::internal(format!(
                "{} has other content than was written to it",
                staged.path.display()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(directory.path()).unwrap();

        storage.probe().await.unwrap();

        let staging = storage.store().layout.staging();
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_probe_by_a_reader_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let reader = FsStorage::options().min_free(u64::MAX).read_only();
        let reader = reader.open(directory.path()).unwrap();

        reader.probe().await.unwrap();

        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        reader.accepts_uploads().await.unwrap();
    }

    #[tokio::test]
    async fn a_probe_says_what_it_could_not_do_and_where() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(directory.path()).unwrap();
        // Permission bits have no effect for root. A file in place of the directory fails for every user.
        let staging = storage.store().layout.staging();
        fs::remove_dir(&staging).unwrap();
        fs::write(&staging, "in the way").unwrap();

        let refused = storage.probe().await.unwrap_err();

        assert!(matches!(refused, StorageError::Internal { .. }));
        assert!(
            refused.to_string().contains(staging.to_str().unwrap()),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn there_is_no_more_room_than_the_file_system_has() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(directory.path()).unwrap();

        let space = storage.space().await.unwrap().unwrap();

        assert!(space.bytes_total > 0);
        assert!(space.bytes_free <= space.bytes_total, "{space:?}");
    }
}
