//! [`Process`]: the state that all handles of a bucket in this process share.

use crate::{
    gate::{Batches, Known, Mark, Newest},
    run::OpenRun,
};
use registry_core::storage::SuspectList;
use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// Maximum number of rescued items that are remembered. Those beyond it are rescued again.
const REMEMBERED: usize = 1 << 20;

/// The states of a bucket, by root directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(Arc<Mutex<BTreeMap<String, Arc<Process>>>>);

impl Processes {
    /// Returns the state of the content below a root directory.
    pub(crate) fn of(&self, root: &str) -> Arc<Process> {
        Arc::clone(lock(&self.0).entry(root.to_owned()).or_default())
    }
}

/// State that all handles of a bucket in this process share.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// State of the collection as it was read last.
    known: Mutex<Option<Known>>,
    /// Epoch of the newest state that was read, if the bucket has one.
    newest_epoch: Mutex<Option<u64>>,
    /// Newest state that was read, of a store without updates.
    pub(crate) newest: Newest,
    /// Held while the state is read, so that one request reads it for all.
    pub(crate) reading: tokio::sync::Mutex<()>,
    /// Announcements of removals.
    pub(crate) batches: Batches,
    sections: Mutex<Generation>,
    rescued: Mutex<Rescued>,
    runs: Mutex<Runs>,
    /// Items that requests of this process have released.
    pub(crate) suspects: Mutex<SuspectList>,
    /// Held while a batch is removed, also if its caller has gone.
    pub(crate) removing: tokio::sync::Mutex<()>,
    /// Key of the sign of a run, until it is removed.
    sign: Mutex<Option<String>>,
}

/// The runs of collections of this process, of which one is open at a time.
#[derive(Debug, Default)]
struct Runs {
    last: u64,
    /// Id of the open one, which may be beginning.
    claimed: Option<u64>,
    open: Option<Arc<OpenRun>>,
}

/// Prevents other runs in this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    process: Arc<Process>,
    pub(crate) id: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut runs = lock(&self.process.runs);
        runs.claimed = None;
        runs.open = None;
    }
}

/// Items that requests of this process have rescued in an epoch.
#[derive(Debug, Default)]
struct Rescued {
    epoch: u64,
    marks: HashSet<Mark>,
}

/// Sections that began since the last call of [`Process::drain`].
#[derive(Debug)]
struct Generation {
    entry: mpsc::Sender<Infallible>,
    left: mpsc::Receiver<Infallible>,
}

impl Default for Generation {
    fn default() -> Self {
        let (entry, left) = mpsc::channel(1);
        Self { entry, left }
    }
}

/// A protected section is going on until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    _entry: mpsc::Sender<Infallible>,
}

impl Process {
    /// Begins a run, unless one is open in this process.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut runs = lock(&self.runs);
        if runs.claimed.is_some() {
            return None;
        }
        runs.last += 1;
        runs.claimed = Some(runs.last);
        Some(Claim {
            process: Arc::clone(self),
            id: runs.last,
        })
    }

    /// Keeps the key of the sign that a run gives.
    pub(crate) fn signs(&self, key: &str) {
        *lock(&self.sign) = Some(key.to_owned());
    }

    /// Forgets the key of a sign that was removed.
    pub(crate) fn has_removed_sign(&self, key: &str) {
        lock(&self.sign).take_if(|sign| sign == key);
    }

    /// Returns the key of a sign that is still to be removed.
    pub(crate) fn sign(&self) -> Option<String> {
        lock(&self.sign).clone()
    }

    /// Opens the run that has the claim.
    pub(crate) fn open(&self, run: OpenRun) {
        lock(&self.runs).open = Some(Arc::new(run));
    }

    /// Returns an open run by its id.
    pub(crate) fn run(&self, id: u64) -> Option<Arc<OpenRun>> {
        lock(&self.runs).open.clone().filter(|open| open.id == id)
    }

    /// Begins a protected section.
    pub(crate) fn section(&self) -> Section {
        Section {
            _entry: lock(&self.sections).entry.clone(),
        }
    }

    /// Waits until all sections have ended that have begun before. Others may begin meanwhile.
    pub(crate) async fn drain(&self) {
        let Generation { entry, mut left } = std::mem::take(&mut *lock(&self.sections));
        drop(entry);
        // Nothing is ever sent: the answer is that all senders have gone.
        let _ = left.recv().await;
    }

    pub(crate) fn known(&self) -> Option<Known> {
        lock(&self.known).clone()
    }

    pub(crate) fn learn(&self, known: Known) {
        if let Some(epoch) = known.found() {
            self.learn_epoch(epoch);
        }
        *lock(&self.known) = Some(known);
    }

    /// Learns that the bucket has a state of this epoch.
    pub(crate) fn learn_epoch(&self, epoch: u64) {
        let mut newest = lock(&self.newest_epoch);
        *newest = Some(epoch).max(*newest);
    }

    /// Returns the epoch of the newest state that was read, if the bucket has one.
    pub(crate) fn newest_epoch(&self) -> Option<u64> {
        *lock(&self.newest_epoch)
    }

    /// Makes the next section read the state of the collection again. It cannot be older then.
    pub(crate) async fn forget(&self) {
        let _reading = self.reading.lock().await;
        *lock(&self.known) = None;
    }

    /// Removes those marks that were rescued in an epoch before.
    pub(crate) fn drop_rescued<T>(&self, epoch: u64, marks: &mut Vec<(Mark, T)>) {
        let rescued = lock(&self.rescued);
        if rescued.epoch == epoch {
            marks.retain(|(mark, _)| !rescued.marks.contains(mark));
        }
    }

    /// Remembers marks that were rescued in an epoch.
    pub(crate) fn add_rescued(&self, epoch: u64, marks: &[Mark]) {
        let mut rescued = lock(&self.rescued);
        if rescued.epoch != epoch || rescued.marks.len() + marks.len() > REMEMBERED {
            *rescued = Rescued {
                epoch,
                marks: HashSet::new(),
            };
        }
        rescued.marks.extend(marks);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
