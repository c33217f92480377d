//! [`VerifySchedule`]: verification as recurring work, a little each night.

use super::{
    driver::verify,
    options::{Pacer, VerifyOptions},
    run::{VerifyEvent, with_causes},
    window::Window,
};
use crate::{
    digest::Digest,
    maintenance::clock::Clock,
    storage::{Checked, Page, Seen, Storage, StorageError, StorageInspect, StorageRepair},
};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Interval at which the clock is looked at. It may be set meanwhile. Also the rest after the start and after a failure.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// Number of bytes read in a second.
const RATE: u64 = 64 << 20;
/// Number of blobs after which the progress is saved.
const SAVED: usize = 64;
/// Maximum number of damaged blobs for which the images that need them are looked for.
const SUSPECTS: usize = 1000;

/// Schedule on which everything stored is verified.
///
/// All content is read once in each interval, in a window of each day if there is one, and at most at a rate. Then the
/// records are looked at. The progress is saved in the storage, so that a restart loses little. Damage is logged, and
/// nothing is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VerifySchedule {
    interval: Duration,
    window: Option<Window>,
    rate: u64,
    sparse_indexes: bool,
}

impl VerifySchedule {
    /// Reads everything once in each `interval`, at any time of day.
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            window: None,
            rate: RATE,
            sparse_indexes: false,
        }
    }

    /// Sets the part of each day in which content is read.
    pub const fn window(self, window: Option<Window>) -> Self {
        Self { window, ..self }
    }

    /// Sets the maximum number of bytes that are read in a second. Default: 64 MiB.
    pub const fn rate(self, bytes_per_second: u64) -> Self {
        Self {
            rate: bytes_per_second,
            ..self
        }
    }

    /// Sets whether an index may name manifests that its repository does not have.
    pub(in crate::maintenance) const fn sparse_indexes(self, sparse_indexes: bool) -> Self {
        Self {
            sparse_indexes,
            ..self
        }
    }

    fn is_open(&self, now: SystemTime) -> bool {
        self.window.is_none_or(|window| window.is_open(now))
    }
}

/// A verification that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastVerification {
    /// Time at which it began, in seconds since the epoch.
    pub begun: u64,
    /// Time at which it ended, in seconds since the epoch.
    pub ended: u64,
    /// Number of findings that were not harmless.
    pub wrong: u64,
}

/// Status of the scheduled verification, for metrics. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct VerifyStatus(Arc<Mutex<Option<LastVerification>>>);

impl VerifyStatus {
    /// Returns the last verification that has ended, in this process or before, or `None` if none is known.
    #[must_use]
    pub fn last(&self) -> Option<LastVerification> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, last: Option<LastVerification>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

/// Progress of the verification, as the storage keeps it.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Time at which the verification began, in seconds since the epoch. `None` if none is under way.
    begun: Option<u64>,
    /// Last blob that was read.
    after: Option<String>,
    /// Number of damaged blobs so far.
    damaged: u64,
    /// The first of them.
    suspects: Vec<Digest>,
    last: Option<LastVerification>,
}

impl Progress {
    /// Reads the progress. It is a hint: what cannot be read begins again.
    fn parse(saved: &[u8]) -> Option<Self> {
        let saved: Value = serde_json::from_slice(saved).ok()?;
        let last = saved.get("last").and_then(|last| {
            let number = |key| last.get(key).and_then(Value::as_u64);
            Some(LastVerification {
                begun: number("begun")?,
                ended: number("ended")?,
                wrong: number("wrong")?,
            })
        });
        Some(Self {
            begun: saved.get("begun").and_then(Value::as_u64),
            after: saved.get("after").and_then(Value::as_str).map(str::to_owned),
            damaged: saved.get("damaged").and_then(Value::as_u64).unwrap_or_default(),
            suspects: digests(saved.get("suspects")),
            last,
        })
    }

    fn to_json(&self) -> Vec<u8> {
        let last = self
            .last
            .map(|last| json!({ "begun": last.begun, "ended": last.ended, "wrong": last.wrong }));
        let saved = json!({
            "begun": self.begun,
            "after": self.after,
            "damaged": self.damaged,
            "suspects": self.suspects.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "last": last,
        });
        saved.to_string().into_bytes()
    }
}

fn digests(saved: Option<&Value>) -> Vec<Digest> {
    let saved = saved.and_then(Value::as_array).into_iter().flatten();
    saved
        .filter_map(|digest| Digest::parse(digest.as_str()?).ok())
        .collect()
}

/// The scheduled verification of a storage.
pub(in crate::maintenance) struct Scheduled<'a> {
    storage: &'a dyn Storage,
    inspect: &'a dyn StorageInspect,
    repair: &'a dyn StorageRepair,
    schedule: VerifySchedule,
    status: &'a VerifyStatus,
}

impl<'a> Scheduled<'a> {
    /// Returns `None` if the storage cannot be verified, or cannot keep the progress.
    pub(in crate::maintenance) fn of(
        storage: &'a dyn Storage,
        schedule: VerifySchedule,
        status: &'a VerifyStatus,
    ) -> Option<Self> {
        storage.write()?;
        Some(Self {
            storage,
            inspect: storage.inspect()?,
            repair: storage.repair()?,
            schedule,
            status,
        })
    }

    /// Works as long as it is polled, from an hour after its start on.
    pub(in crate::maintenance) async fn run(&self, clock: &dyn Clock) -> Infallible {
        match self.load().await {
            Ok(progress) => self.status.set(progress.last),
            Err(error) => log_failure(&error),
        }
        clock.sleep(LOOK).await;
        loop {
            let wait = match self.step(clock).await {
                Ok(wait) => wait,
                Err(error) => {
                    log_failure(&error);
                    LOOK
                }
            };
            clock.sleep(wait).await;
        }
    }

    /// Reads what can be read now. Returns the time until the next step.
    async fn step(&self, clock: &dyn Clock) -> Result<Duration, StorageError> {
        let mut progress = self.load().await?;
        let now = clock.now();
        if let Some(wait) = self.until_due(&progress, now) {
            return Ok(wait.min(LOOK));
        }
        if let Some(window) = self.schedule.window.filter(|window| !window.is_open(now)) {
            return Ok(window.until_open(now).min(LOOK));
        }
        let begun = *progress.begun.get_or_insert_with(|| seconds(now));
        if seconds(now).saturating_sub(begun) > self.schedule.interval.as_secs() {
            tracing::warn!(
                "the verification of stored content is behind: it has not read everything within its interval; give it a longer window or a longer interval"
            );
        }
        if self.read(&mut progress, clock).await? {
            self.end(begun, &mut progress, clock).await?;
        }
        Ok(Duration::ZERO)
    }

    /// Returns the time until the next verification begins; `None` if one is due or under way.
    fn until_due(&self, progress: &Progress, now: SystemTime) -> Option<Duration> {
        let last = progress.last.filter(|_| progress.begun.is_none())?;
        // A clock that was set back must not delay it.
        let since = seconds(now).checked_sub(last.begun)?;
        let left = self.schedule.interval.checked_sub(Duration::from_secs(since))?;
        (!left.is_zero()).then_some(left)
    }

    /// Reads content until the window closes. Returns true if everything was read.
    async fn read(&self, progress: &mut Progress, clock: &dyn Clock) -> Result<bool, StorageError> {
        let mut pacer = Pacer::new(self.schedule.rate, clock);
        let mut after = progress
            .after
            .as_deref()
            .and_then(|after| Digest::parse(after).ok());
        loop {
            let page = Page::first(SAVED).after(after.as_ref());
            let listed = self.inspect.blobs(page).await?;
            for seen in &listed.items {
                if !self.schedule.is_open(clock.now()) {
                    self.save(progress).await?;
                    return Ok(false);
                }
                let digest = match seen {
                    Seen::Whole(blob) => blob.digest,
                    Seen::Unreadable { key, .. } => *key,
                };
                let checked = self.repair.check(&digest).await?;
                if log_damage(&digest, &checked) {
                    progress.damaged += 1;
                    if progress.suspects.len() < SUSPECTS {
                        progress.suspects.push(digest);
                    }
                }
                if let Checked::Sound { size } = checked {
                    pacer.read(size).await;
                }
                progress.after = Some(digest.to_string());
                after = Some(digest);
            }
            self.save(progress).await?;
            if !listed.more {
                return Ok(true);
            }
        }
    }

    /// Looks at the records, reads damaged content again to tell which images need it, and ends the verification.
    async fn end(&self, begun: u64, progress: &mut Progress, clock: &dyn Clock) -> Result<(), StorageError> {
        let options = VerifyOptions::new()
            .suspects(&progress.suspects)
            .sparse_indexes(self.schedule.sparse_indexes);
        let report = verify(self.storage, options, &mut |event| {
            if let VerifyEvent::Finding(finding) = event
                && !finding.is_harmless()
            {
                tracing::error!("{finding}");
            }
        })
        .await?;
        // The others are still damaged, as far as is known.
        let others = progress.damaged.saturating_sub(progress.suspects.len() as u64);
        let wrong = report.wrong + others;
        let last = LastVerification {
            begun,
            ended: seconds(clock.now()),
            wrong,
        };
        *progress = Progress {
            last: Some(last),
            ..Progress::default()
        };
        self.save(progress).await?;
        self.status.set(Some(last));
        tracing::info!(wrong, "everything stored was verified");
        Ok(())
    }

    async fn load(&self) -> Result<Progress, StorageError> {
        let saved = self.repair.saved_progress().await?;
        let progress = saved.and_then(|saved| Progress::parse(&saved));
        Ok(progress.unwrap_or_default())
    }

    async fn save(&self, progress: &Progress) -> Result<(), StorageError> {
        self.repair.save_progress(progress.to_json()).await
    }
}

/// Logs that content is damaged. Returns false if it is not.
fn log_damage(digest: &Digest, checked: &Checked) -> bool {
    match checked {
        Checked::Corrupt(evidence) => {
            let (place, reason) = (&evidence.place, &evidence.reason);
            tracing::error!(%digest, place, reason, "stored content is corrupt; the images that need it are logged at the end of the verification");
            true
        }
        Checked::Unreadable { place, reason } => {
            tracing::error!(%digest, place, reason, "stored content cannot be read");
            true
        }
        Checked::Sound { .. } | Checked::Absent => false,
    }
}

fn log_failure(error: &StorageError) {
    let error = with_causes(error);
    tracing::warn!(
        error,
        "cannot verify the stored content; it is tried again in an hour"
    );
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Waits forever if there is nothing to do.
pub(in crate::maintenance) async fn run(
    storage: &dyn Storage,
    schedule: Option<VerifySchedule>,
    status: &VerifyStatus,
    clock: &dyn Clock,
) -> Infallible {
    match schedule.and_then(|schedule| Scheduled::of(storage, schedule, status)) {
        Some(scheduled) => scheduled.run(clock).await,
        None => future::pending().await,
    }
}
