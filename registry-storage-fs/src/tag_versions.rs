//! [`TagVersions`]: a version of each tag, which every put changes, in a fixed number of counters.

use registry_core::{RepositoryName, Tag, storage::TagVersion};
use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Number of counters. Two tags may share one: a put of either then changes the version of both.
const COUNTERS: u64 = 4096;

/// Counters of the puts of tags by this process, the only one that writes.
pub(crate) struct TagVersions {
    counters: Box<[AtomicU64]>,
    /// Random, so that no client can choose tags with the same counter.
    hasher: RandomState,
}

impl Default for TagVersions {
    /// Starts at the time in nanoseconds, so that no version of an earlier process comes again.
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(since.as_nanos()).unwrap_or_default();
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(first)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl TagVersions {
    /// Returns the version of a tag. To see a tag and its version, read the version first.
    pub(crate) fn of(&self, repository: &RepositoryName, tag: &Tag) -> Option<TagVersion> {
        let counter = self.counter(repository, tag)?;
        Some(TagVersion::new(counter.load(Ordering::Acquire)))
    }

    /// Records a put, when everything that it changes can be seen, and before it is acknowledged. The caller holds the
    /// tag's lock.
    pub(crate) fn put(&self, repository: &RepositoryName, tag: &Tag) {
        if let Some(counter) = self.counter(repository, tag) {
            counter.fetch_add(1, Ordering::Release);
        }
    }

    fn counter(&self, repository: &RepositoryName, tag: &Tag) -> Option<&AtomicU64> {
        let number = self.hasher.hash_one((repository, tag)) % COUNTERS;
        self.counters.get(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{name, tag};

    #[test]
    fn every_put_changes_the_version_also_across_processes() {
        let (a, v1) = (name("a"), tag("v1"));
        let mut seen = Vec::new();
        for _process in 0..3 {
            let versions = TagVersions::default();
            for _ in 0..3 {
                versions.put(&a, &v1);
                assert_eq!(versions.of(&a, &v1), versions.of(&a, &v1));
                seen.push(versions.of(&a, &v1).unwrap());
            }
        }

        let different: std::collections::HashSet<TagVersion> = seen.iter().copied().collect();
        assert_eq!(different.len(), seen.len());
    }
}
