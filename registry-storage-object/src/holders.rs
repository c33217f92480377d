//! [`Holders`]: the repositories that were recently seen to hold a blob.
//!
//! A hint for mounts that name no source. It is only in memory, and contains blobs that were pushed, mounted or
//! looked for at this process. A missing entry costs an upload, and a wrong one two requests. In registry:2's layout,
//! finding all holders needs a read of every repository.

use registry_core::{Digest, RepositoryName};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

/// Maximum number of blobs per generation: a few megabytes at most.
const BLOBS: usize = 8192;
/// Maximum number of repositories per blob. A base layer may be everywhere; a client needs one that it may read.
const REPOSITORIES: usize = 16;

type Generation = HashMap<Digest, BTreeSet<RepositoryName>>;

/// Holders in two generations: when the young one is full it becomes the old one, and the old one is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

impl Holders {
    pub(crate) fn add(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.young.len() >= BLOBS && !all.young.contains_key(digest) {
            all.old = std::mem::take(&mut all.young);
        }
        let holders = all.young.entry(*digest).or_default();
        if holders.len() < REPOSITORIES {
            holders.insert(repository.clone());
        }
    }

    pub(crate) fn remove(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *all;
        for generation in [young, old] {
            if let Some(holders) = generation.get_mut(digest) {
                holders.remove(repository);
            }
        }
    }

    /// Returns true if some repository was seen to hold it.
    pub(crate) fn is_known(&self, digest: &Digest) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = [all.young.get(digest), all.old.get(digest)];
        holders.into_iter().flatten().any(|holders| !holders.is_empty())
    }

    /// Returns the known holders in byte order.
    pub(crate) fn of(&self, digest: &Digest) -> BTreeSet<RepositoryName> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [&all.young, &all.old]
            .into_iter()
            .filter_map(|generation| generation.get(digest))
            .flatten()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::Algorithm;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn what_was_added_is_there_until_removed() {
        let holders = Holders::default();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        holders.add(&digest, &name("b"));
        holders.add(&digest, &name("a"));
        assert!(holders.of(&digest).iter().eq([&name("a"), &name("b")]));
        assert!(holders.is_known(&digest));

        holders.remove(&digest, &name("a"));
        assert!(holders.of(&digest).iter().eq([&name("b")]));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let holders = Holders::default();
        let digest = |n: usize| Digest::of(Algorithm::Sha256, &n.to_be_bytes());
        for n in 0..=2 * BLOBS {
            holders.add(&digest(n), &name("a"));
        }
        assert!(holders.of(&digest(0)).is_empty());
        assert!(!holders.of(&digest(BLOBS)).is_empty());
        let all = holders.0.lock().unwrap();
        assert!(all.young.len() + all.old.len() <= 2 * BLOBS);
    }
}
