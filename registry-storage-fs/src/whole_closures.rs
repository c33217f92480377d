//! [`WholeClosures`]: manifests whose closure is complete, as long as nothing is removed.
//!
//! The put of an index relies on all content below its entries. Their own pushes have just checked it, so that it need
//! not be read and looked at again.

use crate::digest_locks::Key;
use registry_core::{Digest, RepositoryName};
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of remembered keys, of 8 bytes, and of manifests. A forgotten one is read again.
const MOST: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct WholeClosures(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Keys of the content of each closure, by the hash of the repository and the manifest.
    known: HashMap<u64, Arc<[Key]>>,
    hasher: RandomState,
    /// Number of keys, and of manifests.
    size: usize,
    /// Number of removals of links and content.
    removals: u64,
}

impl WholeClosures {
    /// Returns the number of removals. What is known to be complete is so as long as this does not change.
    pub(crate) fn removals(&self) -> u64 {
        self.memory().removals
    }

    /// Records that a link or content has been removed, which may belong to any closure.
    pub(crate) fn removed(&self) {
        let mut memory = self.memory();
        memory.removals += 1;
        memory.clear();
    }

    /// Returns the keys of everything that a manifest refers to, directly or through others, if all of it exists.
    pub(crate) fn keys(&self, repository: &RepositoryName, manifest: &Digest) -> Option<Arc<[Key]>> {
        let memory = self.memory();
        let number = memory.hasher.hash_one((repository, manifest));
        memory.known.get(&number).map(Arc::clone)
    }

    /// Remembers a manifest whose closure was found complete by a check that began after `began` removals.
    pub(crate) fn remember(&self, repository: &RepositoryName, manifest: &Digest, keys: &[Key], began: u64) {
        let mut memory = self.memory();
        let size = 1 + keys.len();
        if memory.removals != began || size > MOST {
            return;
        }
        if memory.size + size > MOST {
            memory.clear();
        }
        let number = memory.hasher.hash_one((repository, manifest));
        let replaced = memory.known.insert(number, keys.into());
        memory.size += size - replaced.map_or(0, |replaced| 1 + replaced.len());
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn clear(&mut self) {
        self.known.clear();
        self.size = 0;
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
    fn a_closure_is_known_until_anything_is_removed() {
        let (closures, locks) = (WholeClosures::default(), DigestLocks::default());
        let (a, b) = (name("a"), name("b"));
        let (first, second) = (*manifest("1").digest(), *manifest("2").digest());
        let keys = [locks.key(&second)];
        let began = closures.removals();
        closures.remember(&a, &first, &keys, began);
        assert_eq!(closures.keys(&a, &first).as_deref(), Some(&keys[..]));
        assert!(closures.keys(&a, &second).is_none() && closures.keys(&b, &first).is_none());

        closures.removed();
        // Its check may have seen what is gone now.
        closures.remember(&a, &second, &[], began);

        assert!(closures.keys(&a, &first).is_none() && closures.keys(&a, &second).is_none());
        closures.remember(&a, &second, &[], closures.removals());
        assert!(closures.keys(&a, &second).is_some());
    }

    #[test]
    fn no_more_is_remembered_than_that() {
        let (closures, locks) = (WholeClosures::default(), DigestLocks::default());
        let keys = vec![locks.key(manifest("1").digest()); MOST / 4];
        let digests: Vec<_> = (0..10).map(|n| *manifest(&n.to_string()).digest()).collect();
        for (number, digest) in digests.iter().enumerate() {
            // Twice counts once.
            closures.remember(&name("a"), digest, &keys, 0);
            closures.remember(&name("a"), digest, &keys, 0);
            let memory = closures.memory();
            assert_eq!(memory.size, memory.known.len() * (1 + keys.len()), "{number}");
            assert!(memory.size <= MOST && memory.size > 0);
        }
        assert!(closures.keys(&name("a"), &digests[9]).is_some());
    }
}
