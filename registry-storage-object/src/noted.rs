//! [`Noted`], [`Change`] and [`Slot`]: the parts of [notes](crate::changes).

use crate::bucket::StoreTime;
use registry_core::{RepositoryName, Tag};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Time for which a repository is not noted again.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(4 * 60);

/// Number of repositories that are remembered. More are noted again.
const REPOSITORIES: usize = 10_000;

/// Part of the time by which notes are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    /// Seconds that share a directory of notes.
    pub(crate) const SECONDS: u64 = 1000;

    pub(crate) fn of(time: StoreTime) -> Self {
        Self(time.since(StoreTime::default()).as_secs() / Self::SECONDS)
    }

    /// Returns the parts of the time from this one to another one.
    pub(crate) fn until(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }

    /// Returns the number of parts from this one to another one.
    pub(crate) const fn distance(self, last: Self) -> u64 {
        last.0.saturating_sub(self.0)
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Something is created.
    Comes,
    /// Something is removed.
    Goes,
}

/// Repositories that this process has noted, each with the time of the view.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<BTreeMap<RepositoryName, StoreTime>>);

impl Noted {
    pub(crate) fn is_recent(&self, repository: &RepositoryName, told: StoreTime) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted
            .get(repository)
            .is_some_and(|noted| told.since(*noted) < REMEMBERED)
    }

    pub(crate) fn add(&self, repository: &RepositoryName, told: StoreTime) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REPOSITORIES {
            noted.clear();
        }
        noted.insert(repository.clone(), told);
    }

    pub(crate) fn remove(&self, repository: &RepositoryName) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.remove(repository);
    }
}

/// Remains of tags that processes have left which died, as an inspection finds them: the keys of the entries of registry:2's
/// list of the past targets of a tag that does not exist, or a tag whose link is not as it has to be.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<BTreeMap<(RepositoryName, Tag), Vec<String>>>);

/// Number of remains of a kind that are remembered. The next inspection finds the others.
const LEFTOVERS: usize = 10_000;

impl Leftovers {
    pub(crate) fn add(&self, repository: &RepositoryName, tag: Tag, keys: Vec<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < LEFTOVERS {
            all.insert((repository.clone(), tag), keys);
        }
    }

    pub(crate) fn take(&self) -> BTreeMap<(RepositoryName, Tag), Vec<String>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keys of links of manifests and blobs with a mark of a replica that has died, as an inspection finds them.
#[derive(Debug, Default)]
pub(crate) struct LeftMarks(Mutex<BTreeSet<String>>);

impl LeftMarks {
    pub(crate) fn add(&self, key: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < LEFTOVERS {
            all.insert(key.to_owned());
        }
    }

    pub(crate) fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
