//! [`Store`]: the state that the planes share.

use crate::{
    ahead::KeptListings,
    bucket::{Bucket, Dialect},
    gate::{Gate, Reach, Times},
    known_manifests::KnownManifests,
    lease::Lease,
    names::Indexes,
    noted::{LeftMarks, Leftovers, Noted},
    options::ObjectOptions,
    probe::kept::{Kept, Probe},
    process::Process,
    reading::ReadAhead,
    referrers::Completed,
    rung::Rung,
    tags::VALID,
    turns::Turns,
    uploads::{KnownSessions, PartMemory, Removals, Running},
};
use registry_core::storage::{RecentHolders, Result, StorageError, TrashIds};
use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// Number of blobs whose recent holders are remembered.
const HOLDERS: usize = 8192;

/// Number of large manifests that are read at once.
const LARGE_READS: usize = 8;

/// The state of an open storage. Each module adds the operations of its subject.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) bucket: Bucket,
    pub(crate) options: ObjectOptions,
    pub(crate) gate: Gate,
    /// Memory for the parts of uploads.
    pub(crate) part_memory: PartMemory,
    /// Memory for the ranges of blobs that are read ahead.
    pub(crate) read_ahead: ReadAhead,
    pub(crate) known_sessions: KnownSessions,
    /// Appends of this process.
    pub(crate) running_appends: Running,
    /// Objects of sessions that have become blobs.
    pub(crate) removals: Removals,
    /// Held where only one process may write.
    pub(crate) lease: Option<Lease>,
    /// Means by which records are moved here, as the probe has found out.
    pub(crate) rung: Rung,
    /// Means by which records of upload sessions are moved. They need no conditional removal.
    pub(crate) session_rung: Rung,
    /// True if the common prefix of objects is no longer listed when they are removed.
    pub(crate) prefixes_vanish: bool,
    /// True if collections that nobody asks for may remove content.
    pub(crate) is_own: AtomicBool,
    /// Items that listings have read beyond their pages.
    pub(crate) kept: KeptListings,
    pub(crate) noted: Noted,
    pub(crate) leftovers: Leftovers,
    pub(crate) left_marks: LeftMarks,
    pub(crate) indexes: Indexes,
    /// Content of manifests.
    pub(crate) known_manifests: KnownManifests,
    /// Bounds the memory for large manifests that are being read.
    pub(crate) large_reads: Semaphore,
    /// Writers of tags.
    pub(crate) turns: Turns,
    /// Validity of a request that moves a tag, or removes a record.
    pub(crate) moving: Duration,
    /// Repositories that were recently seen to have a blob.
    pub(crate) holders: RecentHolders,
    /// Ids of the records of deletions.
    pub(crate) trash_ids: TrashIds,
    /// Repositories whose index of referrers is complete.
    pub(crate) completed_referrers: Completed,
    /// Key of the object that health checks write.
    pub(crate) health_key: OnceLock<String>,
}

impl Store {
    pub(crate) fn new(
        bucket: Bucket,
        process: Arc<Process>,
        options: ObjectOptions,
        probe: Option<&Probe>,
        lease: Option<Lease>,
    ) -> Self {
        let rung = probe.and_then(Probe::rung).unwrap_or(Rung::Sole);
        let reach = if options.read_only {
            Reach::Readers
        } else if options.punctual || bucket.dialect() == Dialect::Memory {
            Reach::Punctual
        } else if lease.is_some() {
            Reach::Process
        } else {
            Reach::Replicas
        };
        // Assumed if the store accepts expired URLs.
        let times = Times::usual(match probe {
            Some(probe) if probe.expiry == Kept::Always => Duration::from_secs(2 * 60),
            _ => Duration::from_secs(2 * 60 * 60),
        });
        let times = match options.collection_delay {
            Some(delay) => times.shortened_to(delay),
            None => times,
        };
        Self {
            known_manifests: KnownManifests::new(options.manifest_memory),
            large_reads: Semaphore::new(LARGE_READS),
            turns: Turns::default(),
            moving: VALID,
            holders: RecentHolders::new(HOLDERS),
            trash_ids: TrashIds::default(),
            completed_referrers: Completed::default(),
            health_key: OnceLock::new(),
            bucket,
            part_memory: PartMemory::new(options.part_memory),
            read_ahead: ReadAhead::new(&options),
            known_sessions: KnownSessions::default(),
            running_appends: Running::default(),
            removals: Removals::default(),
            options,
            lease,
            gate: Gate::new(process, rung, reach, times),
            rung,
            is_own: AtomicBool::new(false),
            session_rung: match probe {
                Some(probe) if probe.create == Kept::Always && probe.update == Kept::Always => {
                    Rung::Conditional
                }
                _ => rung,
            },
            prefixes_vanish: probe.is_some_and(|probe| probe.prefixes_vanish == Kept::Always),
            kept: KeptListings::default(),
            noted: Noted::default(),
            leftovers: Leftovers::default(),
            left_marks: LeftMarks::default(),
            indexes: Indexes::default(),
        }
    }

    /// Returns the time after its validity until which a request may still take effect.
    pub(crate) const fn lateness(&self) -> Duration {
        self.gate.times.lateness
    }

    /// Runs an operation to its end, even if the returned future is dropped.
    pub(crate) async fn finish<T, F>(self: &Arc<Self>, operation: impl FnOnce(Arc<Self>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        joined(tokio::spawn(operation(Arc::clone(self)))).await
    }
}

/// Returns the outcome of a task. Its panic goes on here.
pub(crate) async fn joined<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(StorageError::unavailable(
                "the runtime is shutting down",
                None,
                Some(error.into()),
            )),
        },
    }
}
