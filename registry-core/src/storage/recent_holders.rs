//! [`RecentHolders`]: the repositories that were recently seen to hold a blob.

use crate::{digest::Digest, name::RepositoryName};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, PoisonError},
};

/// Maximum number of repositories per blob. A base layer may be everywhere; a client needs one that it may read.
const REPOSITORIES: usize = 16;

type Generation = HashMap<Digest, BTreeSet<RepositoryName>>;

/// The repositories that were recently seen to hold a blob: a hint for mounts that name no source, which a backend
/// returns from [`Storage::holders`](super::Storage::holders).
///
/// The hint is only in memory, and belongs to one process. The backend adds what is pushed, mounted or looked for, and
/// removes what is deleted. A missing entry costs the client an upload. An entry may be out of date, if another
/// process has deleted the blob. In registry:2's layout, finding all holders needs a read of every repository.
///
/// # Memory
///
/// At most `2 * blobs` blobs are remembered, with 16 repositories each: the blobs are in two generations, and when the
/// young one is full it replaces the old one. With `blobs` of 8,192, this takes about 7 MB if each blob has one holder
/// with a short name, and 90 MB if each blob has 16 holders with names of 255 bytes.
///
/// ```
/// use registry_core::{Algorithm, Digest, RepositoryName, storage::RecentHolders};
///
/// let holders = RecentHolders::new(8192);
/// let digest = Digest::of(Algorithm::Sha256, b"layer");
/// let (base, app) = (RepositoryName::parse("base")?, RepositoryName::parse("app")?);
/// holders.add(&digest, &base);
/// holders.add(&digest, &app);
/// assert!(holders.after(&digest, None).iter().eq([&app, &base]));
///
/// holders.remove(&digest, &base);
/// assert!(holders.after(&digest, Some(&app)).is_empty());
/// # Ok::<(), registry_core::name::InvalidName>(())
/// ```
#[derive(Debug)]
pub struct RecentHolders {
    blobs: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

impl RecentHolders {
    /// Remembers the holders of at least `blobs` blobs, and of at most twice as many.
    #[must_use]
    pub fn new(blobs: usize) -> Self {
        Self {
            blobs,
            generations: Mutex::default(),
        }
    }

    /// Remembers that a repository holds a blob.
    pub fn add(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if all.young.len() >= self.blobs && !all.young.contains_key(digest) {
            all.old = std::mem::take(&mut all.young);
        }
        let holders = all.young.entry(*digest).or_default();
        if holders.len() < REPOSITORIES {
            holders.insert(repository.clone());
        }
    }

    /// Forgets that a repository holds a blob.
    pub fn remove(&self, digest: &Digest, repository: &RepositoryName) {
        let mut all = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *all;
        for generation in [young, old] {
            if let Some(holders) = generation.get_mut(digest) {
                holders.remove(repository);
            }
        }
    }

    /// Returns true if a repository is known to hold the blob.
    #[must_use]
    pub fn is_known(&self, digest: &Digest) -> bool {
        let all = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = [all.young.get(digest), all.old.get(digest)];
        holders.into_iter().flatten().any(|holders| !holders.is_empty())
    }

    /// Returns the known holders after a name, in byte order. They may have lost the blob since.
    #[must_use]
    pub fn after(&self, digest: &Digest, after: Option<&RepositoryName>) -> BTreeSet<RepositoryName> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let all = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
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

    const BLOBS: usize = 64;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    fn digest(number: usize) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_be_bytes())
    }

    #[test]
    fn a_blob_is_known_until_its_last_holder_is_removed() {
        let (holders, a, b) = (RecentHolders::new(2), name("a"), name("b"));
        holders.add(&digest(0), &b);
        // The blob is in the old generation then, and has another holder in the young one.
        for n in [1, 2, 0] {
            holders.add(&digest(n), &a);
        }
        assert!(holders.after(&digest(0), None).iter().eq([&a, &b]));

        holders.remove(&digest(0), &b);
        assert!(holders.after(&digest(0), None).iter().eq([&a]));
        assert!(holders.is_known(&digest(0)));
        holders.remove(&digest(0), &a);
        assert!(!holders.is_known(&digest(0)));
    }

    #[test]
    fn the_oldest_blobs_are_forgotten_and_memory_is_bounded() {
        let (holders, a) = (RecentHolders::new(BLOBS), name("a"));

        for n in 0..=2 * BLOBS {
            holders.add(&digest(n), &a);
        }
        for n in 0..2 * REPOSITORIES {
            holders.add(&digest(BLOBS), &name(&format!("r{n}")));
        }

        assert!(holders.after(&digest(0), None).is_empty());
        assert!(holders.after(&digest(BLOBS), None).contains(&a));
        assert!(holders.after(&digest(BLOBS), None).len() <= 2 * REPOSITORIES);
        let all = holders.generations.lock().unwrap();
        assert!(all.young.len() + all.old.len() <= 2 * BLOBS);
    }
}
