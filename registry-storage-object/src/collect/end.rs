//! End of a run.

use super::begin::taken_over;
use crate::{
    gate::{Count, Stored, now},
    keys,
    run::OpenRun,
    store::Store,
};
use registry_core::storage::{Census, Result};

impl Store {
    pub(crate) async fn end_run(&self, run: &OpenRun, seen: Census) -> Result<()> {
        let _removing = self.gate.process.removing.lock().await;
        let mut work = run.work.lock().await;
        // Nobody looks for what is dying once the epoch is over. Also an answered removal may take effect once more, where
        // something on the way to the store repeats requests.
        let epoch = work.stored.state.epoch;
        self.gate.settle(&self.bucket, epoch, u64::MAX).await?;
        let census = Count {
            manifests: seen.manifests,
            complete: seen.complete,
        };
        let holder = work.stored.state.holder.clone().unwrap_or_default();
        let ended = work.stored.change(&self.bucket, self.rung, |state| {
            state.epoch += 1;
            state.holder = None;
            state.lists.clear();
            state.listed = None;
            state.census = Some(census);
        });
        work.stored = ended.await?.ok_or_else(taken_over)?;
        self.gate.process.forget().await;
        if run.terms.asked {
            self.make_own().await?;
        }
        // The census has counted them.
        let mut gone = std::mem::take(&mut work.noted);
        gone.extend(run.gone.iter().cloned());
        self.bucket.delete_all(gone.into_iter()).await?;
        self.trim_changes().await?;
        self.sweep_deletions(self.notes_last()).await?;
        self.sweep(&work.stored).await?;
        self.sweep_holders(&holder).await
    }

    /// Removes what is left of all epochs before the present one.
    async fn sweep(&self, stored: &Stored) -> Result<()> {
        let epoch = stored.state.epoch;
        let mut old = Vec::new();
        for directory in [keys::LISTS, keys::RESCUED, keys::BATCHES] {
            for object in self.list_all(directory).await? {
                let name = keys::name_in(directory, &object.key).unwrap_or_default();
                let of = name.split('-').next().and_then(keys::number);
                if of.is_some_and(|of| of < epoch) {
                    old.push(object.key);
                }
            }
        }
        self.bucket.delete_all(old.into_iter()).await
    }

    /// Removes the sign of a run that ends, because its process may end at once, and those of processes that were killed.
    async fn sweep_holders(&self, ended: &str) -> Result<()> {
        let dead = self.gate.times.dead;
        let mut old = Vec::new();
        for sign in self.list_all(keys::HOLDERS).await? {
            let age = now(&self.bucket).time().duration_since(sign.modified);
            if sign.key == keys::holder(ended) || age.unwrap_or_default() > dead {
                old.push(sign.key);
            }
        }
        self.bucket.delete_all(old.into_iter()).await
    }
}
