//! Number of manifests that have gone since the last run ended.
//!
//! A run compares what it sees with what the last one left. What requests deleted since then, and what runs removed that
//! did not end, is not missing. Their number is therefore durable before the manifests are gone, also for the next
//! process.

use super::{collecting::lock, state::StateFile};
use crate::{error::FsError, store::Store};
use registry_core::storage::{Census, Result, StorageError, Terms};
use std::sync::atomic::Ordering;

impl Store {
    /// Counts a manifest that is about to be deleted.
    pub(crate) fn count_deletion(&self) {
        // A deletion may be what makes space.
        if let Err(error) = self.note_deletion() {
            tracing::warn!(
                %error,
                "cannot note how many manifests were deleted; if this process ends, the next collection may refuse to begin and has to be forced"
            );
        }
    }

    fn note_deletion(&self) -> Result<()> {
        // Locked until it is noted: a run that ends in between would take the number for its own.
        let mut state = lock(&self.collecting.state);
        let known = self.known_state(&mut state);
        let deleted = self.collecting.deleted.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(noted) = known?.with_deleted(deleted) {
            self.write_state(&noted)?;
            *state = Some(noted);
        }
        Ok(())
    }

    /// Returns the content of the file. If it could not be read before, it is read now.
    pub(super) fn known_state(&self, state: &mut Option<StateFile>) -> Result<StateFile, FsError> {
        if let Some(known) = state {
            return Ok(*known);
        }
        let read = if self.is_owned() {
            StateFile::read_or_create(&self.layout, &self.disk)?
        } else {
            StateFile::read(&self.layout)?.unwrap_or_default()
        };
        self.collecting.deleted.fetch_add(read.deleted, Ordering::Relaxed);
        Ok(*state.insert(read))
    }

    /// Returns the number of manifests that the last run has left, without those that have gone since. `None` before the
    /// first run has ended.
    pub(crate) fn expected_manifests(&self) -> Result<Option<u64>> {
        let (census, deleted) = self.deletions_so_far()?;
        Ok(census.map(|census| census.manifests.saturating_sub(deleted)))
    }

    /// Returns the census of the last run, and the number of manifests that have gone since.
    pub(super) fn deletions_so_far(&self) -> Result<(Option<Census>, u64), FsError> {
        let mut state = lock(&self.collecting.state);
        let census = self.known_state(&mut state)?.census();
        Ok((census, self.collecting.deleted.load(Ordering::Relaxed)))
    }

    /// Counts a manifest that the open run is about to remove, which the census of the run will not contain.
    pub(super) fn count_removal(&self) {
        self.count_deletion();
        if let Some(run) = &mut *lock(&self.collecting.run) {
            run.deleted += 1;
        }
    }

    /// Stores what the next run compares with. A full disk does not make the run fail, which has removed everything.
    pub(super) fn take_census(&self, terms: &Terms, seen: &Census) -> Result<()> {
        match self.write_census(terms, seen) {
            Err(StorageError::Full { what, context, .. }) => {
                tracing::warn!(
                    lacking = %what, %context,
                    "cannot note how many manifests a collection has left; if this process ends, the next collection may refuse to begin and has to be forced"
                );
                Ok(())
            }
            written => written,
        }
    }

    fn write_census(&self, terms: &Terms, seen: &Census) -> Result<()> {
        let counted = lock(&self.collecting.run).as_ref().map_or(0, |run| run.deleted);
        let mut state = lock(&self.collecting.state);
        let mut ended = self.known_state(&mut state)?.after(terms, seen);
        // The run may have seen what requests have deleted meanwhile.
        let during = self
            .collecting
            .deleted
            .load(Ordering::Relaxed)
            .saturating_sub(counted);
        ended = ended.with_deleted(during).unwrap_or(ended);
        // This process goes by it, also if it cannot be written.
        *state = Some(ended);
        self.collecting.deleted.fetch_sub(counted, Ordering::Relaxed);
        self.write_state(&ended)
    }

    fn write_state(&self, state: &StateFile) -> Result<()> {
        self.reserve.write(|| Ok(state.write(&self.layout, &self.disk)?))
    }
}
