//! [`Upkeep`]: all recurring maintenance of a registry, as one future.

#[cfg(test)]
mod tests;

use super::{
    clock::Clock,
    clock_note::NotedClock,
    clock_watch::Distrust,
    collect::{CollectReport, CollectSchedule, Collections},
    histories::expire_histories,
    notes::{MemoryNotes, Notes},
    pressure::{Pressure, expiry_under_pressure},
    reconcile::drop_ended,
    scan::{Ending, ExpiredUploads, Scan},
    trash::expire_trash,
    uploads::{is_idle, is_idle_and_empty},
    verify::{VerifySchedule, VerifyStatus, schedule},
};
use crate::{
    ledger::UploadLedger,
    name::RepositoryName,
    storage::{Storage, StorageError, StorageInspect, UploadState},
};
use std::{
    convert::Infallible,
    fmt,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

/// Maximum idle time of an empty session. Clients send the first byte right after they open a session.
const EMPTY_AGE: Duration = Duration::from_secs(60 * 60);
/// Maximum interval at which empty sessions are looked for. They count against a limit that all pushes share.
const EMPTY_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Interval at which sessions are counted if none expire. Otherwise they are counted when they are looked for.
const RECONCILE_INTERVAL: Duration = EMPTY_INTERVAL;
/// Interval at which old records of deletions are looked for. The first time is after one interval, so that a host that
/// was off for long can restore something first.
const TRASH_INTERVAL: Duration = HOUR;
/// Minimum interval at which the histories of deleted tags are looked for. Each time looks at every tag.
const HISTORIES_INTERVAL: Duration = DAY;
/// Time until records expire after the clock was set or the machine was suspended. Also after the start, on a host that does
/// not know the time since the boot: it does not notice that the clock was set while no process ran.
const UNTRUSTED_WAIT: Duration = DAY;
/// Maximum difference between the time slept and the time that has passed by the clock. Beyond it, the clock was set or
/// the machine was suspended.
const CLOCK_TOLERANCE: Duration = HOUR;
/// Minimum interval at which sessions are looked for. Without one, an interval of 0 would never rest.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for which records of deletions are kept by default.
const TRASH_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Schedules on which abandoned upload sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadExpiry {
    any: Schedule,
    empty: Schedule,
}

/// Schedule for one kind of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    /// Maximum idle time of a session.
    age: Duration,
    /// Interval at which sessions are looked for.
    interval: Duration,
}

impl UploadExpiry {
    /// Ends sessions that are idle for `age`, looking for them every `interval`, which is at least a second.
    /// Empty sessions end after an hour at the latest, and are looked for every five minutes: no client loses
    /// data.
    #[must_use]
    pub fn new(age: Duration, interval: Duration) -> Self {
        let interval = interval.max(MIN_INTERVAL);
        Self {
            any: Schedule { age, interval },
            empty: Schedule {
                age: age.min(EMPTY_AGE),
                interval: interval.min(EMPTY_INTERVAL),
            },
        }
    }
}

impl Default for UploadExpiry {
    /// Ends sessions that are idle for a week, looking for them every day.
    fn default() -> Self {
        Self::new(7 * DAY, DAY)
    }
}

impl Schedule {
    fn idle_since(self, now: SystemTime) -> SystemTime {
        // If the age exceeds the time since the epoch, no session is old enough.
        now.checked_sub(self.age).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// All recurring maintenance of a registry, created by [`Registry::upkeep`](crate::Registry::upkeep):
///
/// - Abandoned upload sessions end.
/// - Records of deletions expire after a week, if the storage [keeps them](crate::Storage::trash). So do the histories of
///   deleted tags.
/// - The [`UploadLedger`] of the registry counts the sessions of other processes, and of before the start.
/// - Everything stored is [verified](Self::verify), if the host has a schedule for it.
/// - Content that nothing refers to is removed, if the host gives a [schedule](Self::collect).
///
/// The host drives it, with the clock of its runtime:
///
/// ```
/// use registry_core::{Registry, maintenance::Clock, storage::MemoryStorage};
/// use std::time::{Duration, SystemTime};
///
/// struct Host;
///
/// #[async_trait::async_trait]
/// impl Clock for Host {
///     fn now(&self) -> SystemTime {
///         SystemTime::now()
///     }
///
///     async fn sleep(&self, duration: Duration) {
///         tokio::time::sleep(duration).await;
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// tokio::spawn(async move { registry.upkeep().run(&Host).await });
/// # });
/// ```
#[derive(Clone)]
#[must_use]
pub struct Upkeep {
    storage: Arc<dyn Storage>,
    ledger: UploadLedger,
    uploads: Option<UploadExpiry>,
    trash: Option<Duration>,
    /// Number of free bytes below which records expire early.
    pressure: Option<u64>,
    verify: Option<VerifySchedule>,
    sparse_indexes: bool,
    verified: VerifyStatus,
    told: Arc<Told>,
    collect: Option<CollectSchedule>,
    collections: Collections,
    collected: Arc<Collected>,
    notes: Arc<dyn Notes>,
}

/// Function that is called with each upload session that has expired.
type Told = dyn Fn(&RepositoryName, &UploadState) + Send + Sync;
/// Function that is called with the report of each collection.
type Collected = dyn Fn(&CollectReport) + Send + Sync;

impl Upkeep {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        ledger: UploadLedger,
        told: impl Fn(&RepositoryName, &UploadState) + Send + Sync + 'static,
    ) -> Self {
        Self {
            storage,
            ledger,
            told: Arc::new(told),
            uploads: Some(UploadExpiry::default()),
            trash: Some(TRASH_AGE),
            pressure: None,
            verify: None,
            sparse_indexes: false,
            verified: VerifyStatus::default(),
            collect: None,
            collections: Collections::default(),
            collected: Arc::new(|_| {}),
            notes: Arc::new(MemoryNotes::default()),
        }
    }

    /// Sets when abandoned upload sessions are ended. `None` keeps all sessions; they are counted.
    pub fn uploads(self, expiry: Option<UploadExpiry>) -> Self {
        Self {
            uploads: expiry,
            ..self
        }
    }

    /// Sets how long records of deletions are kept. `None` keeps all of them.
    ///
    /// No record expires while the clock is not [trusted](super::ClockWatch), and for a day after the machine was suspended for
    /// more than an hour. If the host does not know the [time since the boot](Clock::since_boot), none expires in the first day
    /// after a start, and for a day after the clock was set.
    pub fn trash(self, keep: Option<Duration>) -> Self {
        Self { trash: keep, ..self }
    }

    /// Sets the number of free bytes below which a collection is due at once. If it does not free enough, records of
    /// deletions expire early: a part of them after each collection, at most once an hour, the oldest first, and none within
    /// a day. Default: `None`, so that they expire only by their age.
    ///
    /// This needs a [schedule](Self::collect) of collections that remove content, because only they free what the records
    /// keep.
    pub fn shrinking_trash(self, below: Option<u64>) -> Self {
        Self {
            pressure: below,
            ..self
        }
    }

    /// Sets where the last time is noted at which the clock was trusted. By default the note ends with the process, and no record
    /// of a deletion expires in the first 24 hours of the next one.
    pub fn notes(self, notes: Arc<dyn Notes>) -> Self {
        Self { notes, ..self }
    }

    /// Sets when everything stored is verified. `status` is told of each verification that ends. Default: never.
    ///
    /// A storage without the plane [`repair`](Storage::repair) and a read-only one are not verified.
    pub fn verify(self, schedule: Option<VerifySchedule>, status: VerifyStatus) -> Self {
        Self {
            verify: schedule,
            verified: status,
            ..self
        }
    }

    /// Sets when content that nothing refers to is removed. `collections` counts it, and can pause the schedule. `None`,
    /// the default, removes nothing.
    pub fn collect(self, schedule: Option<CollectSchedule>, collections: Collections) -> Self {
        Self {
            collect: schedule,
            collections,
            ..self
        }
    }

    /// Sets whether an index may name manifests that its repository does not have.
    pub(crate) fn sparse_indexes(self, sparse_indexes: bool) -> Self {
        Self {
            sparse_indexes,
            ..self
        }
    }

    /// Sets a function that is called with the report of each collection.
    pub fn on_collected(self, told: impl Fn(&CollectReport) + Send + Sync + 'static) -> Self {
        Self {
            collected: Arc::new(told),
            ..self
        }
    }

    /// Works at once and then periodically, as long as it is polled. Failures are logged, and tried again.
    ///
    /// Does nothing if the storage is read-only.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future stops between two steps.
    pub async fn run(&self, clock: &dyn Clock) -> Infallible {
        let mut uploads = pin!(self.run_uploads(clock));
        let schedule = self
            .verify
            .map(|schedule| schedule.sparse_indexes(self.sparse_indexes));
        let mut verify = pin!(schedule::run(&*self.storage, schedule, &self.verified, clock));
        let mut collect = pin!(self.run_collections(clock));
        // Each of them may take long, and none waits for the others.
        poll_fn(|context| {
            if let Poll::Ready(never) = uploads.as_mut().poll(context) {
                return Poll::Ready(never);
            }
            if let Poll::Ready(never) = verify.as_mut().poll(context) {
                return Poll::Ready(never);
            }
            collect.as_mut().poll(context)
        })
        .await
    }

    async fn run_collections(&self, clock: &dyn Clock) -> Infallible {
        match self.collect.filter(|_| self.storage.collect().is_some()) {
            Some(schedule) => {
                let told = &*self.collected;
                schedule.run(&*self.storage, &self.collections, clock, told).await
            }
            None => std::future::pending().await,
        }
    }

    /// Ends upload sessions and records of deletions.
    async fn run_uploads(&self, clock: &dyn Clock) -> Infallible {
        let Some(write) = self.storage.write() else {
            return std::future::pending().await;
        };
        let (mut until_any, mut until_empty) = (Duration::ZERO, Duration::ZERO);
        let mut until_trash = match clock.since_boot() {
            Some(_) => TRASH_INTERVAL,
            None => UNTRUSTED_WAIT,
        };
        let mut until_histories = Duration::ZERO;
        let mut watch = NotedClock::start(clock, &*self.notes).await;
        let mut told = None;
        let mut pressure = self.pressure.map(|below| Pressure::new(below, &self.collections));
        loop {
            let now = clock.now();
            let distrust = watch.now(clock).await.err();
            warn_of_clock(&mut told, distrust);
            let mut due = Due::default();
            if let Some(UploadExpiry { any, empty }) =
                self.uploads.filter(|_| distrust != Some(Distrust::Jumped))
            {
                if until_any.is_zero() {
                    due.any = Some(any.idle_since(now));
                    until_any = any.interval;
                }
                if until_empty.is_zero() {
                    due.empty = Some(empty.idle_since(now));
                    until_empty = empty.interval;
                }
            } else {
                (until_any, until_empty) = (RECONCILE_INTERVAL, RECONCILE_INTERVAL);
            }
            match self.storage.inspect() {
                Some(inspect) => log(self.scan(inspect, due).await),
                None => drop_ended(write, &self.ledger).await,
            }
            let removes = |schedule: CollectSchedule| schedule.removes(&*self.storage);
            let mut pressure = pressure.as_mut().filter(|_| self.collect.is_some_and(removes));
            if let Some(pressure) = &mut pressure {
                pressure.measure(&*self.storage).await;
            }
            if until_trash.is_zero() {
                let pressure = pressure.and_then(|pressure| pressure.persists().then_some(pressure));
                if distrust.is_none_or(|distrust| distrust == Distrust::NoBootTime) {
                    self.expire_trash(now, pressure).await;
                    if until_histories.is_zero() {
                        self.expire_histories(now).await;
                        until_histories = HISTORIES_INTERVAL;
                    }
                }
                until_histories = until_histories.saturating_sub(TRASH_INTERVAL);
                until_trash = TRASH_INTERVAL;
            }
            let wait = until_any.min(until_empty).min(until_trash);
            let is_steady = sleep(clock, wait).await;
            (until_any, until_empty) = (until_any - wait, until_empty - wait);
            until_trash -= wait;
            if !is_steady {
                tracing::warn!(
                    "the clock was set or the machine was suspended; records of deletions are kept for another day"
                );
                until_trash = UNTRUSTED_WAIT;
            }
        }
    }

    /// Removes the records of deletions that are older than they are kept, and more of them under a pressure that persists.
    async fn expire_trash(&self, now: SystemTime, pressure: Option<&mut Pressure<'_>>) {
        let Some((keep, trash)) = self.trash.zip(self.storage.trash()) else {
            return;
        };
        let usual = now.checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH);
        let early = match &pressure {
            Some(_) => expiry_under_pressure(trash, now).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot search for the oldest records of deletions");
                None
            }),
            None => None,
        };
        if early.is_some_and(|early| early > usual) {
            tracing::warn!(
                "the storage is nearly full: the oldest records of deletions are removed before their time, so that a \
                 collection frees what they keep"
            );
        }
        match expire_trash(&*self.storage, early.map_or(usual, |early| early.max(usual))).await {
            Ok(report) if report.expired > 0 || report.failed > 0 => {
                let (expired, failed) = (report.expired, report.failed);
                tracing::info!(expired, failed, "old records of deletions were removed");
                if let Some(pressure) = pressure.filter(|_| expired > 0) {
                    pressure.collect_again();
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot search for old records of deletions"),
        }
    }

    /// Removes the histories of tags that were deleted before all records that are kept, and more than a week ago.
    async fn expire_histories(&self, now: SystemTime) {
        let Some(keep) = self.trash.filter(|_| self.storage.trash().is_some()) else {
            return;
        };
        let before = now.checked_sub(keep.max(TRASH_AGE));
        match expire_histories(&*self.storage, before.unwrap_or(SystemTime::UNIX_EPOCH)).await {
            Ok(report) if report.expired > 0 || report.failed > 0 => {
                let (expired, failed) = (report.expired, report.failed);
                tracing::info!(
                    expired,
                    failed,
                    "histories of tags that were deleted long ago were removed"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot search for histories of deleted tags"),
        }
    }

    /// Compares the ledger with the open sessions, and ends those that are due, in one pass.
    async fn scan(&self, inspect: &dyn StorageInspect, due: Due) -> Result<ExpiredUploads, StorageError> {
        let is_abandoned = |session: &UploadState| due.is_due(session);
        let ending = self.storage.expire().map(|expire| Ending {
            expire,
            is_abandoned: &is_abandoned,
            told: &*self.told,
        });
        let scan = Scan::of(inspect).counting(self.ledger.walk());
        scan.ending(ending).run().await
    }
}

/// Logs that the clock was set, or is right again.
fn warn_of_clock(told: &mut Option<Distrust>, now: Option<Distrust>) {
    let jumped = Some(Distrust::Jumped);
    if now == jumped && *told != jumped {
        tracing::warn!(
            "no upload session ends and no record of a deletion expires because of its age: {}",
            Distrust::Jumped
        );
    } else if now != jumped && *told == jumped {
        tracing::info!("upload sessions end and records of deletions expire because of their age again");
    }
    *told = now;
}

/// Waits for `duration`. Returns false if more or less time has passed by the clock.
async fn sleep(clock: &dyn Clock, duration: Duration) -> bool {
    let began = clock.now();
    clock.sleep(duration).await;
    match clock.now().duration_since(began) {
        Ok(passed) => passed.abs_diff(duration) <= CLOCK_TOLERANCE,
        Err(back) => back.duration() + duration <= CLOCK_TOLERANCE,
    }
}

/// Sessions that are to end in one pass: those without an append since a time.
#[derive(Clone, Copy, Default)]
struct Due {
    any: Option<SystemTime>,
    empty: Option<SystemTime>,
}

impl Due {
    fn is_due(self, session: &UploadState) -> bool {
        self.any.is_some_and(|since| is_idle(session, since))
            || self.empty.is_some_and(|since| is_idle_and_empty(session, since))
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("storage", &self.storage)
            .field("ledger", &self.ledger)
            .field("uploads", &self.uploads)
            .field("trash", &self.trash)
            .field("pressure", &self.pressure)
            .field("verify", &self.verify)
            .field("collect", &self.collect)
            .finish_non_exhaustive()
    }
}

fn log(ended: Result<ExpiredUploads, StorageError>) {
    match ended {
        Ok(report) if report.expired > 0 || report.failed > 0 => {
            let (expired, bytes, failed) = (report.expired, report.bytes, report.failed);
            tracing::info!(expired, bytes, failed, "abandoned upload sessions were ended");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot search for abandoned upload sessions"),
    }
}
