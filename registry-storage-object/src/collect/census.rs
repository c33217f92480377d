//! Numbers of manifests, and whose bucket it is.
//!
//! A manifest that a request deletes leaves a note, and so do those that a run removes: the next run compares the number that
//! the last one has left with what it sees. The notes are removed when a run ends.

use crate::{keys, nonce::nonce, store::Store};
use registry_core::storage::Result;
use std::{collections::BTreeSet, sync::atomic::Ordering};

impl Store {
    /// Records that manifests have gone, before they do. 1 request. Returns the key of the note.
    pub(crate) async fn note_gone(&self, number: u64) -> Result<String> {
        let key = keys::gone(&nonce()?, number);
        self.bucket.put(&key, "").await?;
        Ok(key)
    }

    /// Returns the notes about manifests that have gone, and the number of those.
    pub(super) async fn gone(&self) -> Result<(BTreeSet<String>, u64)> {
        let notes = self.list_all(keys::GONE).await?;
        let keys: BTreeSet<String> = notes.into_iter().map(|note| note.key).collect();
        let number = keys.iter().filter_map(|key| keys::gone_number(key));
        let number = number.fold(0, u64::saturating_add);
        Ok((keys, number))
    }

    pub(crate) async fn expected_manifests(&self) -> Result<Option<u64>> {
        let stored = self.gate.stored(&self.bucket).await?;
        let Some(census) = stored.state.census else {
            return Ok(None);
        };
        let (_, number) = self.gone().await?;
        Ok(Some(census.manifests.saturating_sub(number)))
    }

    pub(crate) fn is_own(&self) -> bool {
        self.is_own.load(Ordering::Acquire)
    }

    /// Finds out at the opening if another program may have written to the bucket. An empty bucket becomes own.
    pub(crate) async fn learn_owner(&self) -> Result<()> {
        if self.bucket.head(keys::OWN).await?.is_some() {
            self.is_own.store(true, Ordering::Release);
            return Ok(());
        }
        let is_empty = !self.bucket.any(keys::REPOSITORIES).await?
            && !self.bucket.any(&format!("{}/blobs", keys::TOP)).await?;
        match is_empty && !self.options.read_only {
            true => self.make_own().await,
            false => Ok(()),
        }
    }

    /// Records that collections that nobody asks for may remove content.
    pub(super) async fn make_own(&self) -> Result<()> {
        if !self.is_own() {
            self.bucket.put(keys::OWN, "").await?;
            self.is_own.store(true, Ordering::Release);
        }
        Ok(())
    }
}
