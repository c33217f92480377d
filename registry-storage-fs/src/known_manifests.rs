//! [`KnownManifests`]: manifests that were read to find referrers, with their entries in the index.
//!
//! A manifest needs to be read only once, since the bytes of a digest never change, nor do their references. One that
//! has gone is noticed when it is read for a page.

use crate::referrer_entry::Entry;
use registry_core::{Digest, RepositoryName};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum memory for remembered manifests, in bytes.
const BOUND: usize = 64 << 20;
/// Approximate memory for one manifest, in bytes.
const EACH: usize = 128;
/// Approximate additional memory for a referrer, in bytes.
const REFERRER: usize = 160;

/// Referrers among the manifests of a repository, as of some time after the scan was requested.
#[derive(Debug, Default)]
pub(crate) struct Scanned(BTreeSet<Entry>);

impl Scanned {
    pub(crate) fn add(&mut self, entry: Option<Entry>) {
        self.0.extend(entry);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// Returns the referrers of a subject that sort after `after`.
    pub(crate) fn of(&self, subject: &Digest, after: Option<&Digest>) -> impl Iterator<Item = Entry> {
        let (subject, after) = (*subject, after.copied());
        let from = Entry::before(subject);
        self.0
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |entry| entry.subject == subject)
            .filter(move |entry| after.is_none_or(|after| entry.referrer > after))
            .copied()
    }
}

/// Results of reading manifests, by repository.
#[derive(Debug)]
pub(crate) struct KnownManifests {
    all: Mutex<All>,
    bound: usize,
}

#[derive(Debug, Default)]
struct All {
    repositories: HashMap<RepositoryName, Known>,
    bytes: usize,
    /// Number of scans so far.
    used: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// Manifests that were read; `None` for one that refers to nothing.
    manifests: HashMap<Digest, Option<Box<Entry>>>,
    bytes: usize,
    /// Number of the scan that last used it.
    used: u64,
}

impl Default for KnownManifests {
    fn default() -> Self {
        Self::bounded(BOUND)
    }
}

impl KnownManifests {
    fn bounded(bound: usize) -> Self {
        Self {
            all: Mutex::default(),
            bound,
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a scan of a repository begins.
    pub(crate) fn use_now(&self, repository: &RepositoryName) {
        let mut all = self.lock();
        all.used += 1;
        let used = all.used;
        if let Some(known) = all.repositories.get_mut(repository) {
            known.used = used;
        }
    }

    /// Returns the result of reading a manifest, if it is known.
    pub(crate) fn of(&self, repository: &RepositoryName, digest: &Digest) -> Option<Option<Entry>> {
        let all = self.lock();
        let known = all.repositories.get(repository)?.manifests.get(digest)?;
        Some(known.as_deref().copied())
    }

    /// Remembers a manifest. If the memory is full, evicts the repositories that were not scanned for the longest
    /// time.
    pub(crate) fn remember(&self, repository: &RepositoryName, digest: &Digest, entry: Option<Entry>) {
        let bytes = EACH + entry.map_or(0, |_| REFERRER);
        let mut all = self.lock();
        while all.bytes + bytes > self.bound {
            let others = all.repositories.iter().filter(|(name, _)| *name != repository);
            let oldest = others.min_by_key(|(_, known)| known.used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            all.forget(&oldest);
        }
        let All {
            repositories,
            bytes: all_bytes,
            used,
        } = &mut *all;
        let known = match repositories.get_mut(repository) {
            Some(known) => known,
            None => repositories.entry(repository.clone()).or_default(),
        };
        known.used = *used;
        if known.manifests.insert(*digest, entry.map(Box::new)).is_none() {
            known.bytes += bytes;
            *all_bytes += bytes;
        }
    }

    pub(crate) fn forget(&self, repository: &RepositoryName) {
        self.lock().forget(repository);
    }

    /// Returns the memory in use, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

impl All {
    fn forget(&mut self, repository: &RepositoryName) {
        if let Some(known) = self.repositories.remove(repository) {
            self.bytes -= known.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{manifest, name};

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let known = KnownManifests::bounded(10 * EACH);
        let digest = |n: usize| *manifest(&n.to_string()).digest();
        for repository in ["a", "b", "c"] {
            known.use_now(&name(repository));
            for n in 0..6 {
                known.remember(&name(repository), &digest(n), None);
            }
            assert!(known.lock().bytes <= 10 * EACH);
        }
        assert_eq!(known.of(&name("a"), &digest(0)), None);
        assert_eq!(known.of(&name("c"), &digest(0)), Some(None));

        // One repository alone: what does not fit is read each time.
        for n in 0..100 {
            known.remember(&name("c"), &digest(n), None);
        }
        assert_eq!(known.lock().bytes, 10 * EACH);
        known.forget(&name("c"));
        assert_eq!(known.lock().bytes, 0);
    }
}
