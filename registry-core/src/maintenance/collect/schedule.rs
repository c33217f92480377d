//! [`CollectSchedule`]: runs that nobody asks for.

use super::{CollectOptions, CollectReport, Collections, collect, survey::text_of};
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

/// Schedule of automatic runs of [`collect`], for [`Upkeep`](crate::maintenance::Upkeep).
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
        let mut was_busy = false;
        loop {
            let Some(outcome) = collections.run(self.once(storage, clock)).await else {
                clock.sleep(BUSY.min(self.interval)).await;
                continue;
            };
            let is_busy = matches!(outcome, Err(StorageError::Busy { .. }));
            let rest = match outcome {
                Ok(report) => {
                    log(&report);
                    collections.add(&report, clock.now());
                    told(&report);
                    self.interval
                }
                Err(error) if is_busy => {
                    if !was_busy {
                        tracing::info!(%error, "no collection was begun; it is tried again");
                    }
                    BUSY
                }
                Err(error) => {
                    tracing::warn!(error = text_of(&error), "cannot collect; it is tried again");
                    FAILED
                }
            };
            was_busy = is_busy;
            clock.sleep(rest.min(self.interval)).await;
        }
    }

    async fn once(&self, storage: &dyn Storage, clock: &dyn Clock) -> Result<CollectReport, StorageError> {
        let is_own = storage.collect().is_some_and(|collect| collect.is_own());
        let options = self
            .options
            .dry_run(self.options.dry_run || !(is_own || self.foreign));
        collect(storage, &options, clock, &|_| {}).await
    }
}

fn log(report: &CollectReport) {
    for pin in &report.pins {
        tracing::warn!(%pin, "an item that cannot be read keeps everything that it may refer to");
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
