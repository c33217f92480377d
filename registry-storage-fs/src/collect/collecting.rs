//! [`Collecting`]: the state of collections, which requests and runs share.

use super::{
    accounts::Accounts,
    places::Places,
    removals::Removals,
    state::StateFile,
    touches::{Idle, Touches},
};
use crate::{digest_locks::Key, disk::Disk, layout::Layout};
use registry_core::{
    Digest, RepositoryName,
    storage::{Suspect, SuspectCause, SuspectList, Terms, Victim},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

/// Maximum number of manifests. What is forgotten is kept for longer.
const RELEASES: usize = 65_536;

/// State of collections, from the opening of the storage on.
#[derive(Debug)]
pub(crate) struct Collecting {
    /// Monotonic, so that no change of the clock makes anything seem idle.
    opened: Instant,
    pub(super) touches: Mutex<Touches>,
    releases: Mutex<Releases>,
    suspects: Mutex<SuspectList>,
    /// `None` as long as they were not read.
    pub(super) accounts: Mutex<Option<Accounts>>,
    /// Removals of the open run, or of one that was dropped.
    pub(super) removals: Mutex<Removals>,
    pub(super) run: Mutex<Option<OpenRun>>,
    /// Number of runs so far.
    pub(super) runs: AtomicU64,
    /// Number of manifests that have gone since the last run ended.
    pub(super) deleted: AtomicU64,
    pub(super) leftovers: Mutex<Places>,
    /// `None` as long as it cannot be read.
    pub(super) state: Mutex<Option<StateFile>>,
}

/// The run that is open.
#[derive(Clone, Debug)]
pub(crate) struct OpenRun {
    pub(super) id: u64,
    /// Number of the last touch before it.
    pub(super) began: u64,
    /// Number of deleted manifests that its census does not contain.
    pub(super) deleted: u64,
    /// Blobs that sessions were being committed to when it began. Later commits touch theirs.
    pub(super) committing: Arc<HashSet<Digest>>,
}

/// Manifests with the number of their latest release.
#[derive(Debug, Default)]
pub(crate) struct Releases(HashMap<(RepositoryName, Digest), u64>);

impl Releases {
    pub(crate) fn add(&mut self, repository: &RepositoryName, manifest: Digest, number: u64) {
        let key = (repository.clone(), manifest);
        if self.0.len() < RELEASES || self.0.contains_key(&key) {
            self.0.insert(key, number);
        }
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> Vec<((RepositoryName, Digest), u64)> {
        self.0
            .iter()
            .map(|(key, number)| (key.clone(), *number))
            .collect()
    }

    /// Forgets a manifest, unless it was released again.
    pub(super) fn forget(&mut self, key: &(RepositoryName, Digest), number: u64) {
        if self.0.get(key) == Some(&number) {
            self.0.remove(key);
        }
    }
}

impl Collecting {
    /// Prepares for collections of a directory.
    pub(crate) fn open(layout: &Layout, disk: &Disk) -> Self {
        let read = StateFile::read_or_create(layout, disk);
        let read = read.inspect_err(|error| {
            tracing::warn!(%error, "cannot read or write the state of the collection; nothing is removed until that succeeds");
        });
        Self::with(read.ok())
    }

    /// Prepares for previews. Nothing is written.
    pub(crate) fn preview(layout: &Layout) -> Self {
        let read = StateFile::read(layout);
        let read = read.inspect_err(|error| {
            tracing::warn!(%error, "cannot read the state of the collection");
        });
        Self::with(read.ok().map(Option::unwrap_or_default))
    }

    /// Prepares for reading alone.
    pub(crate) fn none() -> Self {
        Self::with(Some(StateFile::default()))
    }

    fn with(state: Option<StateFile>) -> Self {
        Self {
            opened: Instant::now(),
            touches: Mutex::default(),
            releases: Mutex::default(),
            suspects: Mutex::default(),
            accounts: Mutex::default(),
            removals: Mutex::default(),
            run: Mutex::default(),
            runs: AtomicU64::default(),
            leftovers: Mutex::default(),
            deleted: AtomicU64::new(state.map_or(0, |state| state.deleted)),
            state: Mutex::new(state),
        }
    }

    /// Records that content was promised to a pusher. The caller holds its lock.
    pub(crate) fn touch(&self, keys: impl IntoIterator<Item = Key>) {
        let now = self.opened.elapsed();
        lock(&self.touches).touch(keys, now);
    }

    /// Records that content was released by a request. Returns the number of the release.
    pub(crate) fn release(&self, keys: impl IntoIterator<Item = Key>) -> u64 {
        let now = self.opened.elapsed();
        let mut touches = lock(&self.touches);
        let number = touches.release_now(now);
        touches.released(keys, number);
        number
    }

    /// Records that an earlier release concerned this content, too.
    pub(super) fn released(&self, keys: impl IntoIterator<Item = Key>, number: u64) {
        lock(&self.touches).released(keys, number);
    }

    /// Records that a request has released a manifest, which may be gone.
    pub(crate) fn suspect(&self, repository: &RepositoryName, manifest: &Digest, cause: SuspectCause) {
        let victim = Victim::Manifest(repository.clone(), *manifest);
        lock(&self.suspects).add(victim, cause);
    }

    /// Records that a request has deleted a blob of a repository.
    pub(crate) fn suspect_blob(&self, repository: &RepositoryName, digest: &Digest) {
        lock(&self.suspects).add(Victim::Link(repository.clone(), *digest), SuspectCause::Released);
    }

    /// Records that a repository is about to lose a manifest, of which something may be left.
    pub(crate) fn leaves_something(&self, repository: &RepositoryName) {
        lock(&self.leftovers).add(repository);
    }

    pub(crate) fn suspects(&self, after: u64, limit: usize) -> Vec<Suspect> {
        lock(&self.suspects).after(after, limit)
    }

    pub(super) fn releases(&self) -> MutexGuard<'_, Releases> {
        lock(&self.releases)
    }

    /// Tells if all of these are idle for a run that began after `began`; `None` for one that begins now.
    pub(super) fn is_idle(&self, keys: &[Key], terms: &Terms, began: Option<u64>) -> Idle {
        let now = self.opened.elapsed();
        let touches = lock(&self.touches);
        let mut longest = Duration::ZERO;
        for key in keys {
            match touches.is_idle(*key, terms, began, now) {
                Idle::Yes => {}
                Idle::No => return Idle::No,
                Idle::In(rest) => longest = longest.max(rest),
            }
        }
        match longest {
            Duration::ZERO => Idle::Yes,
            rest => Idle::In(rest),
        }
    }

    /// Returns the time for which a link with these keys stays because of the last push to its repository.
    pub(super) fn pushing(&self, repository: Key, keys: &[Key], terms: &Terms) -> Option<Duration> {
        let now = self.opened.elapsed();
        lock(&self.touches).pushing(repository, keys, terms.uploading, now)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
