//! The contract of collections, each call handed to the module of its subject.

use crate::{process::lock, storage::ObjectStorage};
use async_trait::async_trait;
use registry_core::{
    Digest,
    storage::{Census, Due, Reclaimed, Result, Run, StorageCollect, Suspect, Terms, Victim, Waiting},
};

#[async_trait]
impl StorageCollect for ObjectStorage {
    fn is_own(&self) -> bool {
        self.store.is_own()
    }

    async fn expected_manifests(&self) -> Result<Option<u64>> {
        self.store.expected_manifests().await
    }

    async fn begin(&self, terms: Terms) -> Result<Run> {
        self.store.begin_run(terms).await
    }

    async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        self.store.due(terms, victims).await
    }

    async fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>> {
        Ok(vec![false; blobs.len()])
    }

    async fn condemn(&self, run: &Run, victims: &[Victim]) -> Result<Waiting> {
        let (open, victims) = (self.store.open_run(run)?, victims.to_vec());
        self.store
            .finish(|store| async move { store.condemn(&open, &victims).await })
            .await
    }

    async fn reclaim(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let (open, victims) = (self.store.open_run(run)?, victims.to_vec());
        self.store
            .finish(|store| async move { store.reclaim(&open, &victims).await })
            .await
    }

    async fn end(&self, run: Run, seen: Census) -> Result<()> {
        let open = self.store.open_run(&run)?;
        self.store
            .finish(|store| async move {
                let ended = store.end_run(&open, seen).await;
                drop(run);
                ended
            })
            .await
    }

    async fn suspects(&self, after: u64, limit: usize) -> Result<Vec<Suspect>> {
        Ok(lock(&self.store.gate.process.suspects).after(after, limit))
    }
}
