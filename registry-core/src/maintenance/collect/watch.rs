//! [`Watch`]: tells when a run is worth it, by what requests have released.

use super::CollectOptions;
use crate::storage::{Document, Result, Storage, StorageInspect, Suspect, SuspectCause, Victim};

/// Maximum number of suspects that are looked at in one step.
const SUSPECTS: usize = 1000;

/// Position in the suspects of a storage. The work for one is the same in every storage, however much that holds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Number of the last suspect that was looked at.
    after: u64,
}

impl Watch {
    /// Passes over all suspects: a run that begins now sees what they are.
    pub(super) async fn pass(&mut self, storage: &dyn Storage) -> Result<()> {
        while !self.next(storage).await?.is_empty() {}
        Ok(())
    }

    /// Looks at the next suspects. Returns true if a run may be able to remove something.
    pub(super) async fn step(&mut self, storage: &dyn Storage, options: &CollectOptions) -> Result<bool> {
        let mut is_worth_a_run = false;
        for suspect in self.next(storage).await? {
            is_worth_a_run |= match storage.inspect() {
                Some(inspect) => may_be_garbage(inspect, &suspect, options).await?,
                None => false,
            };
        }
        Ok(is_worth_a_run)
    }

    async fn next(&mut self, storage: &dyn Storage) -> Result<Vec<Suspect>> {
        let Some(collect) = storage.collect() else {
            return Ok(Vec::new());
        };
        let suspects = collect.suspects(self.after, SUSPECTS).await?;
        self.after = suspects.last().map_or(self.after, |last| last.number);
        Ok(suspects)
    }
}

/// Returns false if a run would keep a suspect with all that it names.
async fn may_be_garbage(
    inspect: &dyn StorageInspect,
    suspect: &Suspect,
    options: &CollectOptions,
) -> Result<bool> {
    match suspect.cause {
        // It is a suspect again when its record is forgotten.
        SuspectCause::Recorded if !options.terms.permanent => return Ok(false),
        // The run that has forgotten it, or the one after its deletion, keeps nothing of it.
        SuspectCause::Forgotten if options.terms.permanent => return Ok(false),
        _ => {}
    }
    match &suspect.victim {
        Victim::Manifest(repository, digest) if !options.untagged => {
            let document = inspect.document(repository, digest).await?;
            Ok(matches!(document, Document::Lost))
        }
        _ => Ok(true),
    }
}
