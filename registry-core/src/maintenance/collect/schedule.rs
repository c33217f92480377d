//! [`CollectSchedule`]: runs that nobody asks for.

use super::{CollectOptions, CollectReport, Collections, Stopped, pin::text_of, run_beside, watch::Watch};
use crate::{
    maintenance::clock::Clock,
    storage::{Storage, StorageError},
};
use std::{convert::Infallible, time::Duration};

/// Minimum time between two runs. Without one, an interval of 0 would never rest.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum time until the next attempt when another run was open, or somebody paused collections.
const BUSY: Duration = Duration::from_secs(5 * 60);
/// Maximum time until the next attempt after a failure.
const FAILED: Duration = Duration::from_secs(60 * 60);
/// Time after which the storage is asked again for what requests have released.
const STEP: Duration = Duration::from_secs(5);
/// Minimum time between two runs, as a multiple of the time that the first one worked. Runs look at everything.
const REST: u32 = 50;
/// Share of the time of a run with a rate in which it works.
const SHARE: u32 = 4;

/// Schedule of automatic runs of [`collect`](super::collect()), for [`Upkeep`](crate::maintenance::Upkeep).
///
/// ```
/// use registry_core::{
///     Registry,
///     maintenance::{CollectSchedule, Collections},
///     storage::MemoryStorage,
/// };
/// use std::time::Duration;
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let daily = CollectSchedule::new(Duration::from_secs(24 * 60 * 60));
/// let collections = Collections::default();
/// let upkeep = registry.upkeep().collect(Some(daily), collections.clone());
/// # let _ = upkeep;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct CollectSchedule {
    interval: Duration,
    options: CollectOptions,
    foreign: bool,
}

impl CollectSchedule {
    /// Runs with [`CollectOptions::automatic`], at once and then every `interval`, which is at least a minute.
    ///
    /// Between them it runs when a run can remove what requests have released: after the grace period, and so that runs
    /// look at the storage for about 2 % of the time at most. To find that out takes the same time in every storage.
    ///
    /// A run only reports what it would remove if another program may have written to the storage and nobody has asked
    /// for a run yet: see
    /// [`StorageCollect::is_own`](crate::storage::StorageCollect::is_own).
    pub fn new(interval: Duration) -> Self {
        Self {
            interval: interval.max(MIN_INTERVAL),
            options: CollectOptions::automatic(),
            foreign: false,
        }
    }

    /// Sets the options of every run.
    pub const fn options(self, options: CollectOptions) -> Self {
        Self { options, ..self }
    }

    /// Sets if a run also removes content of a storage that another program may have written to.
    pub const fn foreign(self, foreign: bool) -> Self {
        Self { foreign, ..self }
    }

    /// Runs at once and then periodically. Failures are logged, and tried again.
    pub(in crate::maintenance) async fn run(
        &self,
        storage: &dyn Storage,
        collections: &Collections,
        clock: &dyn Clock,
        told: &(dyn Fn(&CollectReport) + Send + Sync),
    ) -> Infallible {
        let (mut watch, mut was_busy) = (Watch::default(), false);
        loop {
            let began = clock.now();
            let work = async {
                watch.pass(storage).await?;
                // Uploads may be refused until it ends.
                let hurried = collections.is_requested();
                let request = collections.begin();
                let report = self.once(storage, hurried, collections, clock).await?;
                Ok((request, hurried, report))
            };
            let Some(outcome) = collections.run(work).await else {
                clock.sleep(BUSY.min(self.interval)).await;
                continue;
            };
            let is_busy = matches!(outcome, Err(StorageError::Busy { .. }));
            match outcome {
                Ok((request, hurried, report)) => {
                    log(&report);
                    collections.end(request, &report);
                    collections.add(&report, clock.now());
                    told(&report);
                    let took = clock.now().duration_since(began).unwrap_or_default();
                    let is_rested = self.options.rate.is_some() && !hurried;
                    let worked = if is_rested { took / SHARE } else { took };
                    let rest = Rest::after(&report, worked, self);
                    rest.wait(storage, &mut watch, collections, clock).await;
                }
                Err(error) if is_busy => {
                    if !was_busy {
                        tracing::info!(%error, "no collection was begun; it is tried again");
                    }
                    clock.sleep(BUSY.min(self.interval)).await;
                }
                Err(error) => {
                    tracing::warn!(error = text_of(&error), "cannot collect; it is tried again");
                    sleep_unless_requested(FAILED.min(self.interval), collections, clock).await;
                }
            }
            was_busy = is_busy;
        }
    }

    async fn once(
        &self,
        storage: &dyn Storage,
        hurried: bool,
        collections: &Collections,
        clock: &dyn Clock,
    ) -> Result<CollectReport, StorageError> {
        let options = self.options.dry_run(!self.removes(storage)).hurried(hurried);
        run_beside(storage, &options, clock, &|_| {}, Some(collections)).await
    }

    /// Returns true if a run now removes content, and does not only report it.
    pub(in crate::maintenance) fn removes(&self, storage: &dyn Storage) -> bool {
        let is_own = storage.collect().is_some_and(|collect| collect.is_own());
        !self.options.dry_run && (is_own || self.foreign)
    }
}

/// Time until the next run of a schedule.
struct Rest<'a> {
    schedule: &'a CollectSchedule,
    /// Minimum time.
    earliest: Duration,
    /// Time until there is something to remove, as far as that is known.
    due: Duration,
    /// Time that only a request shortens: the next run would probably end as the last one did.
    fixed: Option<Duration>,
}

impl<'a> Rest<'a> {
    fn after(report: &CollectReport, worked: Duration, schedule: &'a CollectSchedule) -> Self {
        let interval = schedule.interval;
        Self {
            schedule,
            earliest: worked.saturating_mul(REST).min(interval),
            due: report.later.last.map_or(interval, |last| last.min(interval)),
            fixed: match &report.stopped {
                Some(Stopped::Failed(_)) => Some(FAILED.min(interval)),
                Some(_) => Some(interval),
                None => report.dry_run.then_some(interval),
            },
        }
    }

    /// Waits for the interval, until a run can remove what requests have released meanwhile, or what was used too
    /// recently before, or until somebody asks for a run.
    async fn wait(
        mut self,
        storage: &dyn Storage,
        watch: &mut Watch,
        collections: &Collections,
        clock: &dyn Clock,
    ) {
        let CollectSchedule {
            interval, options, ..
        } = self.schedule;
        if let Some(fixed) = self.fixed {
            return sleep_unless_requested(fixed, collections, clock).await;
        }
        let mut passed = Duration::ZERO;
        while passed < self.due.max(self.earliest) && !collections.is_requested() {
            let step = STEP.min(interval.saturating_sub(passed));
            clock.sleep(step).await;
            collections.waited(step);
            passed += step;
            // A failure is reported by the run that follows.
            if watch.step(storage, options).await.unwrap_or(true) {
                // It was in use until now.
                self.due = self.due.min(passed + options.terms.grace);
            }
        }
    }
}

/// Sleeps for this time, or until somebody asks for a run.
async fn sleep_unless_requested(time: Duration, collections: &Collections, clock: &dyn Clock) {
    let mut rest = time;
    while !rest.is_zero() && !collections.is_requested() {
        let step = STEP.min(rest);
        clock.sleep(step).await;
        collections.waited(step);
        rest -= step;
    }
}

fn log(report: &CollectReport) {
    for pin in &report.pins {
        tracing::warn!(%pin, "an item that cannot be read or was lost keeps everything that it may refer to");
    }
    let removed = &report.removed;
    let (manifests, links, data, repositories) = (
        removed.manifests,
        removed.links,
        removed.data,
        removed.repositories,
    );
    let (bytes, later) = (removed.bytes, report.later.items);
    if let Some(stopped) = &report.stopped {
        tracing::warn!(manifests, links, data, bytes, %stopped, "a collection ended early");
    } else if report.dry_run && bytes > 0 {
        tracing::info!(
            manifests,
            links,
            data,
            repositories,
            bytes,
            later,
            "a collection would free bytes, but this storage is not collected without being asked"
        );
    } else if removed.data + links + manifests > 0 {
        tracing::info!(
            manifests,
            links,
            data,
            repositories,
            bytes,
            later,
            "a collection has ended"
        );
    } else {
        tracing::debug!(later, "a collection has found nothing to remove");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use async_trait::async_trait;
    use std::{sync::Mutex, time::SystemTime};

    /// A clock on which each call of a storage takes a second.
    #[derive(Default)]
    struct Slow {
        looks: Mutex<u32>,
        slept: Mutex<Duration>,
    }

    #[async_trait]
    impl Clock for Slow {
        fn now(&self) -> SystemTime {
            let mut looks = self.looks.lock().unwrap();
            *looks += 1;
            SystemTime::UNIX_EPOCH + Duration::from_secs(1) * *looks
        }

        async fn sleep(&self, duration: Duration) {
            *self.slept.lock().unwrap() += duration;
        }
    }

    #[tokio::test]
    async fn a_run_rests_unless_somebody_waits_for_it() {
        let storage = MemoryStorage::new();
        let schedule = CollectSchedule::new(FAILED);
        for hurried in [false, true] {
            let (clock, collections) = (Slow::default(), Collections::default());
            let ran = schedule.once(&storage, hurried, &collections, &clock).await;
            ran.unwrap();
            assert_eq!(clock.slept.lock().unwrap().is_zero(), hurried);
        }
    }

    #[tokio::test]
    async fn a_run_that_has_begun_rests_no_more_once_somebody_waits_for_the_next() {
        let (storage, clock) = (MemoryStorage::new(), Slow::default());
        let schedule = CollectSchedule::new(FAILED);
        let collections = Collections::default();
        collections.begin();
        collections.request();
        let ran = schedule.once(&storage, false, &collections, &clock).await;
        ran.unwrap();
        assert!(clock.slept.lock().unwrap().is_zero());
    }
}
