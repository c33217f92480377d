//! Removal of condemned items, batch by batch.

use crate::{
    bucket::{Condition, Fence, Sent},
    gate::{Kind, Mark, now},
    keys,
    run::{OpenRun, Work},
    scans::at_once,
    store::Store,
};
use futures_util::FutureExt as _;
use registry_core::storage::{Deletion, Due, Reclaimed, Result, StoredManifest, Victim};

/// An item that is going to be removed.
struct Item<'a> {
    /// Its place among the results.
    index: usize,
    victim: &'a Victim,
    mark: Mark,
    bytes: u64,
}

/// Result of the removal of an item.
pub(super) struct Removal {
    result: Reclaimed,
    /// False if the item may go until the fence's time, or a request of the removal may take effect until then.
    is_answered: bool,
}

impl Removal {
    pub(super) const fn answered(result: Reclaimed) -> Self {
        Self {
            result,
            is_answered: true,
        }
    }

    pub(super) const fn unclear(result: Reclaimed) -> Self {
        Self {
            result,
            is_answered: false,
        }
    }
}

/// Record of a removal, which is there before the item goes.
enum Record {
    /// It is there, or need not be. With the manifest, if the item is one.
    Written(Option<StoredManifest>),
    /// The time of the batch has passed.
    Expired,
}

impl Store {
    pub(crate) async fn reclaim(&self, run: &OpenRun, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let _removing = self.gate.process.removing.lock().await;
        let mut work = run.work.lock().await;
        self.settle(&mut work).await?;
        let left = work.left();
        let mut results = Vec::with_capacity(victims.len());
        let mut items = Vec::new();
        for (index, (victim, due)) in victims
            .iter()
            .zip(self.due(&run.terms, victims).await?)
            .enumerate()
        {
            let mark = Mark::of(victim);
            results.push(match due {
                Due::Now { bytes, .. } if work.condemned.contains(mark) && left.is_zero() => {
                    items.push(Item {
                        index,
                        victim,
                        mark,
                        bytes,
                    });
                    // Until it is removed.
                    Reclaimed::InUse
                }
                Due::Now { .. } if work.condemned.contains(mark) => Reclaimed::Later(left),
                Due::Now { .. } => Reclaimed::Later(run.delay),
                Due::Later(left) => Reclaimed::Later(left),
                Due::Absent => Reclaimed::Absent,
                _ => Reclaimed::InUse,
            });
        }
        for items in items.chunk_by(|one, other| one.mark.kind() == other.mark.kind()) {
            for (index, removed) in self.remove(run, &mut work, items).await? {
                if let Some(result) = results.get_mut(index) {
                    *result = removed;
                }
            }
        }
        Ok(results)
    }

    /// Removes items of one kind. Those without a result were rescued.
    async fn remove(
        &self,
        run: &OpenRun,
        work: &mut Work,
        items: &[Item<'_>],
    ) -> Result<Vec<(usize, Reclaimed)>> {
        let epoch = work.stored.state.epoch;
        // Told before the state is looked at below.
        let fence = Fence {
            told: now(&self.bucket),
            valid: self.gate.times.removal,
        };
        let marks: Vec<Mark> = items.iter().map(|item| item.mark).collect();
        // No other batch waits for its end: what is dying stays announced until then.
        let batch = self.gate.announce(&self.bucket, epoch, fence, &marks);
        let batch = batch.await?;
        let removed = self.remove_announced(run, work, items, fence).await;
        let is_answered =
            |removed: &Vec<(usize, Removal)>| removed.iter().all(|(_, removal)| removal.is_answered);
        let is_answered = removed.as_ref().is_ok_and(is_answered);
        let finished = self.gate.finish(&self.bucket, epoch, &batch, fence, is_answered);
        match finished.await {
            Err(error) if self.gate.is_punctual() => return Err(error),
            // The announcement ends by itself, only later.
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "cannot shorten an announcement of removals"
                );
            }
            Ok(()) => {}
        }
        let removed = removed?.into_iter();
        Ok(removed.map(|(index, removal)| (index, removal.result)).collect())
    }

    /// Removes those items that were not rescued.
    async fn remove_announced(
        &self,
        run: &OpenRun,
        work: &mut Work,
        items: &[Item<'_>],
        fence: Fence,
    ) -> Result<Vec<(usize, Removal)>> {
        let items = self.not_rescued(work, items).await?;
        // A record of what a successor has removed could not be restored. One that lands late cannot, either: so it expires.
        self.still_held(work).await?;
        let records = self.record_manifests(run, work, &items, fence).await?;
        self.still_held(work).await?;
        let recorded = items.iter().zip(&records);
        let removals = recorded.map(|(item, record)| {
            let removal = async move {
                Ok(match record {
                    // Too late: the next run removes it.
                    Record::Expired => Removal::answered(Reclaimed::InUse),
                    Record::Written(_) => self.remove_item(item, fence).await,
                })
            };
            removal.boxed()
        });
        let removals = at_once(removals).await?;
        let mut results = Vec::with_capacity(items.len());
        for ((item, removed), record) in items.into_iter().zip(removals).zip(records) {
            if let (
                Victim::Manifest(repository, _),
                Reclaimed::Removed { .. },
                Record::Written(Some(manifest)),
            ) = (item.victim, &removed.result, record)
            {
                self.remove_referrer(repository, &manifest).await?;
            }
            results.push((item.index, removed));
        }
        Ok(results)
    }

    /// Records the removal of manifests before it happens, so that it can be undone, and is no surprise for the next run.
    async fn record_manifests(
        &self,
        run: &OpenRun,
        work: &mut Work,
        items: &[&Item<'_>],
        fence: Fence,
    ) -> Result<Vec<Record>> {
        let how = match run.terms.permanent {
            true => Deletion::new().permanently(),
            false => Deletion::new(),
        };
        let records = items
            .iter()
            .map(|item| self.record_item(item.victim, &how, fence).boxed());
        let recorded = at_once(records).await?;
        let records = items.iter().map(|item| item.mark.kind());
        let number = records.filter(|kind| *kind == Kind::Manifest).count();
        if number > 0 {
            let note = self.note_gone(number as u64).await?;
            work.noted.push(note);
        }
        Ok(recorded)
    }

    async fn record_item(&self, victim: &Victim, how: &Deletion, fence: Fence) -> Result<Record> {
        let Victim::Manifest(repository, digest) = victim else {
            return Ok(Record::Written(None));
        };
        let manifest = self.revision(repository, digest).await;
        let is_recorded = self
            .record_manifest(repository, digest, &manifest, &[], how, Some(fence))
            .await?;
        Ok(match is_recorded {
            true => Record::Written(manifest.ok().flatten()),
            false => Record::Expired,
        })
    }

    /// Leaves out those items that came into use since they were condemned.
    async fn not_rescued<'a, 'b>(&self, work: &mut Work, items: &'b [Item<'a>]) -> Result<Vec<&'b Item<'a>>> {
        let epoch = work.stored.state.epoch;
        let protected = self.protected(work).await?;
        let mut left = Vec::new();
        let mut looks = Vec::new();
        for item in items {
            let subject = work.subjects.get(&item.mark).copied();
            // One that this run has not looked at has a subject that nobody knows.
            let is_known = !matches!(item.victim, Victim::Manifest(..)) || subject.is_some();
            let marks: Vec<Mark> = [Some(item.mark), subject.flatten()]
                .into_iter()
                .flatten()
                .collect();
            if is_known && !marks.iter().any(|mark| protected.contains(mark)) {
                left.push(item);
                looks.push(async move { self.is_any_rescued(epoch, &marks).await }.boxed());
            }
        }
        // A listing may lack a key. A look does not.
        let rescued = at_once(looks).await?;
        let left = left.into_iter().zip(rescued);
        Ok(left
            .filter(|(_, is_rescued)| !is_rescued)
            .map(|(item, _)| item)
            .collect())
    }

    async fn is_any_rescued(&self, epoch: u64, marks: &[Mark]) -> Result<bool> {
        for mark in marks {
            if self.bucket.head(&keys::rescued(epoch, *mark)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove_item(&self, item: &Item<'_>, fence: Fence) -> Removal {
        let key = match item.victim {
            Victim::Manifest(repository, digest) => keys::revision(repository, digest),
            Victim::Link(repository, digest) => keys::layer(repository, digest),
            Victim::Data(digest) => keys::blob(digest),
            Victim::Repository(repository) => return self.remove_repository(repository, fence).await,
        };
        match self.bucket.delete_once(&key, &Condition::Any, Some(fence)).await {
            Ok(Sent::Done(_) | Sent::Refused) => Removal::answered(Reclaimed::removed(item.bytes)),
            // Too late: the next run removes it.
            Ok(Sent::Expired) => Removal::answered(Reclaimed::InUse),
            // Also if it has gone, a copy of the request may be on its way.
            Ok(Sent::Unclear) => Removal::unclear(match self.bucket.head(&key).await {
                Ok(None) => Reclaimed::removed(item.bytes),
                Ok(Some(_)) | Err(_) => Reclaimed::InUse,
            }),
            Err(error) => Removal::answered(Reclaimed::Failed(error)),
        }
    }
}
