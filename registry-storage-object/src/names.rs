//! Memory of the [indexes](crate::indexing) of names.

use crate::bucket::StoreTime;
use registry_core::{RepositoryName, Tag};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use tokio::time::Instant;

/// Number of names in all indexes of tags above which the index that was used least recently is dropped.
const NAMES: usize = 2_000_000;

/// Part of a name's objects that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The object that makes it exist.
    Object,
    /// The common prefix of its objects. There may be none, or only others.
    Prefix,
}

/// Names as of a time of the store's clock.
#[derive(Debug)]
pub(crate) struct Index<K> {
    pub(crate) names: BTreeMap<K, Seen>,
    /// Time up to which all notes are in it, except those of changes that are still on their way.
    pub(crate) synced: StoreTime,
    /// Notes that say nothing new, with the time at which each was written.
    pub(crate) settled: BTreeMap<String, SystemTime>,
    /// Begin of the last look at the notes.
    pub(crate) looked: Instant,
}

/// An index that one page at a time brings up to date, for all pages that were asked for before.
#[derive(Debug)]
pub(crate) struct Shared<K>(pub(crate) tokio::sync::Mutex<Option<Index<K>>>);

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::default())
    }
}

/// The indexes of a storage.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    pub(crate) repositories: Shared<RepositoryName>,
    tags: Mutex<Tags>,
}

#[derive(Debug, Default)]
struct Tags {
    uses: u64,
    of: BTreeMap<RepositoryName, TagIndex>,
}

#[derive(Debug)]
struct TagIndex {
    shared: Arc<Shared<Tag>>,
    used: u64,
    /// Number of tags when it was used last.
    tags: usize,
}

impl Indexes {
    /// Returns the index of the tags of a repository, if there is one.
    pub(crate) fn tags_of(&self, repository: &RepositoryName) -> Option<Arc<Shared<Tag>>> {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.uses += 1;
        let uses = tags.uses;
        let found = tags.of.get_mut(repository)?;
        found.used = uses;
        Some(Arc::clone(&found.shared))
    }

    /// Creates the index of the tags of a repository.
    pub(crate) fn add_tags_of(&self, repository: &RepositoryName) -> Arc<Shared<Tag>> {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let used = tags.uses;
        let new = || TagIndex {
            shared: Arc::default(),
            used,
            tags: 0,
        };
        let index = tags.of.entry(repository.clone()).or_insert_with(new);
        Arc::clone(&index.shared)
    }

    /// Sets the size of an index that was used. Drops those that were used least recently if all are too large.
    pub(crate) fn used_tags_of(&self, repository: &RepositoryName, count: usize) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = tags.of.get_mut(repository) {
            found.tags = count;
        }
        while tags.of.len() > 1 && tags.of.values().map(|index| index.tags).sum::<usize>() > NAMES {
            let oldest = tags.of.iter().min_by_key(|(_, index)| index.used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            tags.of.remove(&oldest);
        }
    }
}
