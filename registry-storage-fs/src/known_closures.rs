//! [`KnownClosures`]: what the closures of manifests consist of, and which of them are complete.
//!
//! The put of an index relies on all content below its entries, and a client that finds a manifest relies on all below
//! it. Their own pushes have just named and checked that, so that nothing has to be read again.

use crate::digest_locks::Key;
use registry_core::{Digest, RepositoryName};
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of remembered keys, of 8 bytes, and of manifests. A forgotten one is read again.
pub(crate) const MOST: usize = 1 << 18;

/// Maximum number of keys whose removal is remembered. Once they are forgotten, no closure counts as complete that was
/// found so before.
const MOST_REMOVED: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct KnownClosures(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Closures by the hash of the repository and the manifest.
    known: HashMap<u64, Known>,
    hasher: RandomState,
    /// Number of keys, and of manifests.
    size: usize,
    /// Number of removals of links and content.
    removals: u64,
    /// Number of the last removal of each key, of those after `forgotten`.
    removed: HashMap<Key, u64>,
    /// Number of removals whose keys are not remembered.
    forgotten: u64,
}

#[derive(Debug)]
struct Known {
    /// Keys of everything that the manifest refers to, directly or through others, and of itself.
    keys: Arc<[Key]>,
    /// Number of removals before which all of it existed, if it was looked for.
    whole: Option<u64>,
}

impl KnownClosures {
    /// Returns the number of removals.
    pub(crate) fn removals(&self) -> u64 {
        self.memory().removals
    }

    /// Records that links or content of these keys have been removed.
    pub(crate) fn removed(&self, keys: impl IntoIterator<Item = Key>) {
        let mut memory = self.memory();
        memory.removals += 1;
        let number = memory.removals;
        memory.removed.extend(keys.into_iter().map(|key| (key, number)));
        if memory.removed.len() > MOST_REMOVED {
            memory.forget_removals();
        }
    }

    /// Records that content has been removed which may belong to any closure.
    pub(crate) fn removed_any(&self) {
        let mut memory = self.memory();
        memory.removals += 1;
        memory.forget_removals();
    }

    /// Returns true if nothing of these keys was removed after this number of removals.
    pub(crate) fn stand<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, since: u64) -> bool {
        self.memory().stand(keys, since)
    }

    /// Returns the keys of everything that a manifest refers to, directly or through others.
    pub(crate) fn keys(&self, repository: &RepositoryName, manifest: &Digest) -> Option<Arc<[Key]>> {
        let memory = self.memory();
        Some(Arc::clone(&memory.known(repository, manifest)?.keys))
    }

    /// Does the same if all of it exists.
    pub(crate) fn whole(&self, repository: &RepositoryName, manifest: &Digest) -> Option<Arc<[Key]>> {
        let memory = self.memory();
        let known = memory.known(repository, manifest)?;
        let stands = memory.stand(known.keys.iter(), known.whole?);
        stands.then(|| Arc::clone(&known.keys))
    }

    /// Remembers a manifest whose closure was found complete by a check that began after `whole` removals, or was not
    /// looked for.
    pub(crate) fn remember(
        &self,
        repository: &RepositoryName,
        manifest: &Digest,
        keys: &[Key],
        whole: Option<u64>,
    ) {
        let mut memory = self.memory();
        let size = 1 + keys.len();
        if size > MOST {
            return;
        }
        if memory.size + size > MOST {
            memory.known.clear();
            memory.size = 0;
        }
        let number = memory.hasher.hash_one((repository, manifest));
        let keys = keys.into();
        let replaced = memory.known.insert(number, Known { keys, whole });
        memory.size += size;
        memory.size -= replaced.map_or(0, |replaced| 1 + replaced.keys.len());
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn known(&self, repository: &RepositoryName, manifest: &Digest) -> Option<&Known> {
        self.known.get(&self.hasher.hash_one((repository, manifest)))
    }

    fn stand<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, since: u64) -> bool {
        if since == self.removals {
            return true;
        }
        let stands = |key| self.removed.get(key).is_none_or(|removed| *removed <= since);
        since >= self.forgotten && keys.into_iter().all(stands)
    }

    fn forget_removals(&mut self) {
        self.removed.clear();
        self.forgotten = self.removals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest_locks::DigestLocks,
        support::{manifest, name},
    };

    #[test]
    fn a_closure_is_complete_until_something_of_it_is_removed() {
        let (closures, locks) = (KnownClosures::default(), DigestLocks::default());
        let (a, b) = (name("a"), name("b"));
        let [first, second, other] = ["1", "2", "3"].map(|seed| *manifest(seed).digest());
        let key = |digest| locks.key(digest);
        let began = closures.removals();
        closures.remember(&a, &first, &[key(&first), key(&second)], Some(began));
        assert!(closures.whole(&a, &first).is_some());
        assert!(closures.keys(&a, &second).is_none() && closures.keys(&b, &first).is_none());

        closures.removed([key(&other)]);
        assert!(closures.whole(&a, &first).is_some());
        assert!(closures.stand(&[key(&second)], began) && !closures.stand(&[key(&other)], began));

        closures.removed([key(&second)]);
        // Its check may have seen what is gone now.
        closures.remember(&a, &second, &[key(&second)], Some(began));
        for manifest in [&first, &second] {
            assert!(closures.whole(&a, manifest).is_none());
            assert!(closures.keys(&a, manifest).is_some());
        }
        let began = closures.removals();
        closures.remember(&a, &first, &[key(&second)], Some(began));
        closures.remember(&a, &second, &[], None);
        assert!(closures.whole(&a, &first).is_some() && closures.whole(&a, &second).is_none());

        closures.removed_any();
        assert!(closures.whole(&a, &first).is_none() && !closures.stand(&[], began));
    }

    #[test]
    fn a_removal_that_is_forgotten_may_concern_every_closure() {
        let closures = KnownClosures::default();
        let (a, first) = (name("a"), *manifest("1").digest());
        let keys = [Key::of(1)];
        let began = closures.removals();
        closures.remember(&a, &first, &keys, Some(began));
        closures.removed((2..2 + MOST_REMOVED as u64).map(Key::of));
        assert!(closures.whole(&a, &first).is_some());

        closures.removed([Key::of(1), Key::of(0)]);

        assert!(closures.memory().removed.is_empty());
        assert!(closures.whole(&a, &first).is_none() && !closures.stand(&keys, began));
        closures.remember(&a, &first, &keys, Some(closures.removals()));
        assert!(closures.whole(&a, &first).is_some());
    }

    #[test]
    fn no_more_is_remembered_than_that() {
        let (closures, locks) = (KnownClosures::default(), DigestLocks::default());
        let keys = vec![locks.key(manifest("1").digest()); MOST / 4];
        let digests: Vec<_> = (0..10).map(|n| *manifest(&n.to_string()).digest()).collect();
        for (number, digest) in digests.iter().enumerate() {
            // Twice counts once.
            closures.remember(&name("a"), digest, &keys, None);
            closures.remember(&name("a"), digest, &keys, None);
            let memory = closures.memory();
            assert_eq!(memory.size, memory.known.len() * (1 + keys.len()), "{number}");
            assert!(memory.size <= MOST && memory.size > 0);
        }
        assert!(closures.keys(&name("a"), &digests[9]).is_some());
    }
}
