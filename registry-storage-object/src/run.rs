//! [`OpenRun`]: a run of a collection that is open in this process.

use crate::gate::{Condemned, Mark, Stored};
use registry_core::storage::Terms;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// A run that is open in this process.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub(crate) id: u64,
    pub(crate) terms: Terms,
    /// Time from the announcement of items to their removal.
    pub(crate) delay: Duration,
    /// Keys of the notes about manifests that had gone before it began.
    pub(crate) gone: BTreeSet<String>,
    pub(crate) work: Mutex<Work>,
}

/// State of a run, which one call at a time changes.
#[derive(Debug)]
pub(crate) struct Work {
    /// State of the collection as this run has left it.
    pub(crate) stored: Stored,
    pub(crate) condemned: Condemned,
    /// Time from which on condemned items are removed.
    pub(crate) ripe: Instant,
    /// True if the run goes on with the announcements of another one, which has to wait for long.
    pub(crate) is_closed: bool,
    /// Number of batches of earlier holders, whose removals may be going on.
    pub(crate) settles: Option<u64>,
    /// Manifests that this run has looked at, with their subjects.
    pub(crate) subjects: BTreeMap<Mark, Option<Mark>>,
    /// Content that rescued manifests need, by their marks.
    pub(crate) needs: BTreeMap<Mark, Vec<Mark>>,
    /// Keys of the notes about manifests that this run has removed.
    pub(crate) noted: Vec<String>,
    /// Number of lists that this run has published.
    pub(crate) lists: u64,
}

impl Work {
    /// Returns the time until condemned items may be removed.
    pub(crate) fn left(&self) -> Duration {
        self.ripe.saturating_duration_since(Instant::now())
    }
}
