//! [`RecentHolders`]: the repositories of a tenant that were recently seen to hold a blob.

use crate::{digest::Digest, name::RepositoryName};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, PoisonError},
};

/// Maximum number of blobs per generation.
const BLOBS: usize = 1024;
/// Maximum number of repositories per blob.
const REPOSITORIES: usize = 16;

type Generation = HashMap<Digest, BTreeSet<RepositoryName>>;

/// Holders in two generations: a full young one becomes the old one, and the old one is forgotten.
#[derive(Debug, Default)]
pub(super) struct RecentHolders(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

impl RecentHolders {
    pub(super) fn add(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.young.len() >= BLOBS && !all.young.contains_key(digest) {
            all.old = std::mem::take(&mut all.young);
        }
        let holders = all.young.entry(*digest).or_default();
        if holders.len() < REPOSITORIES {
            holders.insert(repository.clone());
        }
    }

    pub(super) fn remove(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *all;
        for generation in [young, old] {
            if let Some(holders) = generation.get_mut(digest) {
                holders.remove(repository);
            }
        }
    }

    /// Returns the known holders after a name, in byte order. They may have lost the blob since.
    pub(super) fn after(&self, digest: &Digest, after: Option<&RepositoryName>) -> BTreeSet<RepositoryName> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [&all.young, &all.old]
            .into_iter()
            .filter_map(|generation| generation.get(digest))
            .flat_map(|holders| holders.range::<RepositoryName, _>(range))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn the_oldest_blobs_are_forgotten_and_memory_is_bounded() {
        let (holders, a) = (RecentHolders::default(), RepositoryName::parse("a").unwrap());
        let digest = |n: usize| Digest::of(Algorithm::Sha256, &n.to_be_bytes());

        for n in 0..=2 * BLOBS {
            holders.add(&digest(n), &a);
        }
        for n in 0..2 * REPOSITORIES {
            holders.add(&digest(BLOBS), &RepositoryName::parse(&format!("r{n}")).unwrap());
        }

        assert!(holders.after(&digest(0), None).is_empty());
        assert!(holders.after(&digest(BLOBS), None).contains(&a));
        assert!(holders.after(&digest(BLOBS), None).len() <= 2 * REPOSITORIES);
        let all = holders.0.lock().unwrap();
        assert!(all.young.len() + all.old.len() <= 2 * BLOBS);
    }
}
