//! [`Gate`]: what a push has to know of a collection that may run on another replica.
//!
//! A collection announces the items that it is going to remove: it *condemns* them. From then on, everybody who tells a
//! client that such an item exists *rescues* it first, with one small object. Nothing is written for other items. The
//! collection waits until all sections have ended that do not know the announcement, looks at everything again, and
//! removes what is still dead and not rescued.
//!
//! A batch of removals is announced as *dying* before the collection looks for the rescued items. So either it sees that an
//! item was rescued, or the request sees that it is dying, and waits or counts it as absent. The announcement ends by
//! itself: the removals carry a time after which the store refuses them. It is not ended sooner, because a proxy may
//! have sent one of them twice.
//!
//! Cost of a view: one GET every 10 s for all requests of a process, and one GET for each list of condemned items
//! once. Cost of a promise: nothing, or a PUT for each condemned item, and a GET and a LIST.

mod condemned;
mod dying;
mod known;
mod mark;
mod state;
mod times;

pub(crate) use self::{
    condemned::Condemned,
    dying::{Batch, Batches, End},
    known::Known,
    mark::{Kind, Mark},
    state::{Count, Newest, State, Stored, now},
    times::Times,
};

use crate::{
    bucket::{Bucket, Dialect, Fence, RETRY_AFTER, StoreTime},
    keys,
    process::{Process, Section},
    rung::Rung,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use registry_core::{
    Digest, RepositoryName,
    storage::{Result, StorageError},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Age of the store's last answer from which on its time is not the begin of a view.
const STALE: Duration = Duration::from_secs(5);

/// Number of looks for the first state of the collection.
const ESTABLISHING: usize = 4;

/// Number of objects that are written at once.
const PARALLEL: usize = 16;

/// Knowledge of this replica about the collection of the bucket.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) process: Arc<Process>,
    pub(crate) rung: Rung,
    reach: Reach,
    pub(crate) times: Times,
}

/// The processes that may collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any.
    Replicas,
    /// Only this one. Its sections are known, so that there is no delay.
    Process,
    /// Only this one, and no request takes effect after its answer.
    Punctual,
    /// None of interest: nothing is promised to anybody.
    Readers,
}

/// The state of the collection at one time of the store's clock. Promises and publishing writes rest on it.
///
/// A section keeps it until its last write.
#[derive(Clone, Debug)]
pub(crate) struct View {
    told: StoreTime,
    valid: Duration,
    is_fenced: bool,
    epoch: u64,
    condemned: Arc<Condemned>,
    _section: Section,
}

/// Content of a repository that a pusher relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promised<'a> {
    /// A blob, with its link in the repository.
    Blob(&'a RepositoryName, &'a Digest),
    /// A manifest, with its record in the repository.
    Manifest(&'a RepositoryName, &'a Digest),
}

impl Gate {
    pub(crate) const fn new(process: Arc<Process>, rung: Rung, reach: Reach, times: Times) -> Self {
        Self {
            process,
            rung,
            reach,
            times,
        }
    }

    /// Returns true if no other process collects.
    pub(crate) const fn is_sole(&self) -> bool {
        matches!(self.reach, Reach::Process | Reach::Punctual)
    }

    /// Returns true if no request takes effect after its answer.
    pub(crate) const fn is_punctual(&self) -> bool {
        matches!(self.reach, Reach::Punctual)
    }

    /// Returns the time from the announcement of a removal to the removal at least: then no section goes on that does not
    /// know of it, and no write of one is on its way.
    pub(crate) fn delay(&self) -> Duration {
        match self.reach {
            // Its sections are waited for.
            Reach::Process | Reach::Punctual => Duration::ZERO,
            Reach::Replicas | Reach::Readers => self.times.announcement(),
        }
    }

    /// Reads the state of the collection.
    pub(crate) async fn stored(&self, bucket: &Bucket) -> Result<Stored> {
        Stored::load(bucket, self.rung, &self.process.newest).await
    }

    /// Makes the first state of the collection, if there is none. So an answer that there is none is known to be wrong
    /// from then on.
    pub(crate) async fn establish(&self, bucket: &Bucket) -> Result<()> {
        let is_certain = matches!(self.rung, Rung::Conditional | Rung::Log);
        if self.reach == Reach::Readers || !is_certain {
            return Ok(());
        }
        for _ in 0..ESTABLISHING {
            let stored = self.stored(bucket).await?;
            if stored.exists() {
                self.process.learn_epoch(stored.state.epoch);
                return Ok(());
            }
            // Refused if there is one after all. Then it is read again.
            stored.change(bucket, self.rung, |_| {}).await?;
        }
        Err(StorageError::unavailable(
            format!(
                "the object store says that there is no state of collections ({}), and that there is one",
                keys::COLLECTION
            ),
            Some(RETRY_AFTER),
            None,
        ))
    }

    /// Returns the state of the collection, which is fresh, and begins a section.
    pub(crate) async fn view(&self, bucket: &Bucket) -> Result<View> {
        // First, so that a collection waits for sections that read the state before it changes.
        let section = self.process.section();
        let known = match self.reach {
            Reach::Readers => Known {
                epoch: 0,
                exists: false,
                condemned: Arc::default(),
                told: now(bucket),
                read: Instant::now(),
            },
            Reach::Replicas | Reach::Process | Reach::Punctual => self.known(bucket).await?,
        };
        Ok(View {
            told: known.told,
            valid: self.times.publish_until(),
            is_fenced: bucket.dialect() != Dialect::Memory,
            epoch: known.epoch,
            condemned: known.condemned,
            _section: section,
        })
    }

    /// Protects content that a pusher is told to exist. Called before the storage looks for it: what is absent then was
    /// not protected.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](StorageError::Unavailable) if the content is being removed, and that takes long.
    pub(crate) async fn promise(&self, bucket: &Bucket, view: &View, items: &[Promised<'_>]) -> Result<()> {
        let marks = self.rescue(bucket, view, items).await?;
        if !marks.is_empty() {
            self.process
                .batches
                .wait(bucket, view.epoch, self.times.margin, &marks)
                .await?;
            self.process.add_rescued(view.epoch, &marks);
        }
        Ok(())
    }

    /// Does the same without waiting. Returns false if the content is being removed: then it counts as absent.
    pub(crate) async fn offer(&self, bucket: &Bucket, view: &View, items: &[Promised<'_>]) -> Result<bool> {
        let marks = self.rescue(bucket, view, items).await?;
        if !marks.is_empty() {
            let batches = &self.process.batches;
            if batches
                .is_any_dying(bucket, view.epoch, self.times.margin, &marks)
                .await?
            {
                return Ok(false);
            }
            self.process.add_rescued(view.epoch, &marks);
        }
        Ok(true)
    }

    /// Announces removals. Their fence was told before.
    pub(crate) async fn announce(
        &self,
        bucket: &Bucket,
        epoch: u64,
        fence: Fence,
        marks: &[Mark],
    ) -> Result<Arc<Batch>> {
        // Nothing is known yet of the nodes that will get them.
        let end = match self.is_punctual() {
            true => End::Open,
            false => self.end(fence, self.times.margin),
        };
        let batches = &self.process.batches;
        batches.announce(bucket, self.rung, epoch, end, marks).await
    }

    /// Shortens the announcement of a batch after its removals, if all of them have been answered.
    pub(crate) async fn finish(
        &self,
        bucket: &Bucket,
        epoch: u64,
        batch: &Batch,
        fence: Fence,
        is_answered: bool,
    ) -> Result<()> {
        let end = match (self.is_punctual(), is_answered) {
            (true, _) => End::Over,
            (false, true) => self.end(fence, bucket.observed().spread().min(self.times.margin)),
            (false, false) => return Ok(()),
        };
        self.process.batches.shorten(bucket, epoch, batch, end).await
    }

    /// Returns the end of removals on a store whose clocks differ by `spread`.
    fn end(&self, fence: Fence, spread: Duration) -> End {
        let late = self.times.lateness;
        End::By(fence.expires().after(late), fence.valid + late + spread)
    }

    /// Waits until the first `number` batches of removals of an epoch are over.
    pub(crate) async fn settle(&self, bucket: &Bucket, epoch: u64, number: u64) -> Result<()> {
        let batches = &self.process.batches;
        batches.settle(bucket, epoch, self.times.margin, number).await
    }

    /// Rescues those items that are condemned, and returns them. Those that this process has protected before are left out.
    async fn rescue(&self, bucket: &Bucket, view: &View, items: &[Promised<'_>]) -> Result<Vec<Mark>> {
        if view.condemned.is_empty() {
            return Ok(Vec::new());
        }
        let mut hits: Vec<(Mark, String)> = items
            .iter()
            .flat_map(Promised::marks)
            .filter(|(mark, _)| view.condemned.contains(*mark))
            .collect();
        self.process.drop_rescued(view.epoch, &mut hits);
        for hits in hits.chunks(PARALLEL) {
            let mut puts = Vec::new();
            for (mark, named) in hits {
                let named = Bytes::copy_from_slice(named.as_bytes());
                puts.push(async move { bucket.put(&keys::rescued(view.epoch, *mark), named).await });
            }
            try_join_all(puts).await?;
        }
        Ok(hits.into_iter().map(|(mark, _)| mark).collect())
    }

    async fn known(&self, bucket: &Bucket) -> Result<Known> {
        let usable = |age| {
            self.process
                .known()
                .filter(|known| self.is_current(bucket, known, age))
        };
        if let Some(known) = usable(self.times.refresh) {
            return Ok(known);
        }
        let _reading = match usable(self.times.fresh) {
            Some(known) => match self.process.reading.try_lock() {
                Ok(reading) => reading,
                // Somebody reads it.
                Err(_) => return Ok(known),
            },
            None => self.process.reading.lock().await,
        };
        if let Some(known) = usable(self.times.refresh) {
            return Ok(known);
        }
        match self.read(bucket, self.process.known()).await {
            Ok(known) => {
                self.process.learn(known.clone());
                if !known.condemned.is_empty() && self.reach == Reach::Replicas {
                    // An announcement that is known early ends early. Promises look again.
                    let read = self.process.batches.number(bucket, known.epoch);
                    if let Err(error) = read.await {
                        tracing::debug!(%error, "cannot read the announcements of removals");
                    }
                }
                Ok(known)
            }
            Err(error) => usable(self.times.fresh).ok_or(error),
        }
    }

    async fn read(&self, bucket: &Bucket, before: Option<Known>) -> Result<Known> {
        let seen = before.as_ref().and_then(Known::found);
        let seen = seen.max(self.process.newest_epoch());
        let before = before.map(|known| known.condemned).unwrap_or_default();
        // Again if a collection ends meanwhile, or the store's last answer is old.
        for _ in 0..4 {
            let (told, read) = (now(bucket), Instant::now());
            let stored = self.stored(bucket).await?;
            if now(bucket).since(told) > STALE {
                continue;
            }
            let exists = stored.exists();
            let State { epoch, lists, .. } = stored.state;
            // Something in front of the store may answer in its place. A state that goes back would protect nothing.
            if seen > exists.then_some(epoch) {
                return Err(StorageError::unavailable(
                    format!(
                        "the state of the collection in the bucket ({}) has gone back, or is gone: if it was removed, restart all \
                         servers",
                        keys::COLLECTION
                    ),
                    Some(RETRY_AFTER),
                    None,
                ));
            }
            if let Some(condemned) = Condemned::read(bucket, &lists, &before).await? {
                return Ok(Known {
                    epoch,
                    exists,
                    condemned: Arc::new(condemned),
                    told,
                    read,
                });
            }
        }
        Err(StorageError::unavailable(
            format!(
                "the object store is too slow to tell the state of collections, or a list below {} has gone that {} names: if it lasts, \
                 see `registry garbage-collect`",
                keys::LISTS,
                keys::COLLECTION
            ),
            Some(RETRY_AFTER),
            None,
        ))
    }

    fn is_current(&self, bucket: &Bucket, known: &Known, age: Duration) -> bool {
        // The collector of this process makes the others read it again.
        if self.is_sole() && bucket.dialect() == Dialect::Memory {
            return true;
        }
        // The local clock stands still while the machine sleeps.
        known.read.elapsed() <= age && now(bucket).since(known.told) <= age
    }
}

impl Promised<'_> {
    /// Returns the marks of what the promise needs. A mark of a manifest comes with its name, by which a collection finds
    /// what the manifest needs in turn.
    fn marks(&self) -> impl Iterator<Item = (Mark, String)> {
        let (repository, digest, manifest) = match self {
            Self::Blob(repository, digest) => (repository, digest, None),
            Self::Manifest(repository, digest) => {
                let mark = Mark::manifest(repository, digest);
                (repository, digest, Some((mark, format!("{repository}@{digest}"))))
            }
        };
        let others = [
            Mark::link(repository, digest),
            Mark::data(digest),
            Mark::repository(repository),
        ];
        manifest
            .into_iter()
            .chain(others.into_iter().map(|mark| (mark, String::new())))
    }
}

impl View {
    /// Returns the time of the view, by the store's clock.
    pub(crate) const fn told(&self) -> StoreTime {
        self.told
    }

    /// Returns the time until which what rests on this view may be published. `None` where calls cannot be late.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.is_fenced.then_some(Fence {
            told: self.told,
            valid: self.valid,
        })
    }
}

#[cfg(test)]
mod tests;
