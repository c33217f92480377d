//! [`Unfinished`]: what earlier runs have left in a repository.
//!
//! A run drops tags first, and manifests afterwards. A manifest stays if a client uses it at the moment, or if the process
//! ends in between. The records of deletions and the histories of tags say which tags retention has dropped.

use super::{
    graph::{Graph, Lost},
    manifests::manifests,
    rule::Rules,
    survey::subject_part,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Tag,
    storage::{
        Deletion, Document, Page, Seen, StorageError, StorageInspect, StorageTrash, TagEvent, TrashId,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// Number of items that are listed at once.
const PAGE: usize = 1000;

/// Name of the user who deletes, in the history and the trash. The names of clients contain no colon.
const BY: &str = "registry:retention";

/// Describes a deletion by rules of retention.
pub(super) fn by_retention() -> Deletion {
    Deletion::new().by(Some(BY.into()))
}

/// Manifests whose tags earlier runs have dropped.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The manifests, with the time of the last drop. They are in the repository, or in the trash.
    lost: BTreeMap<Digest, SystemTime>,
    /// The newest record of each manifest in the trash.
    records: BTreeMap<Digest, TrashId>,
}

impl Unfinished {
    /// Reads the records and histories of a repository in which `tags` exist. Only tags count about which a rule decides
    /// that drops tags.
    pub(super) async fn read(
        trash: &dyn StorageTrash,
        inspect: &dyn StorageInspect,
        repository: &RepositoryName,
        rules: &Rules,
        tags: &BTreeSet<&Tag>,
    ) -> Result<Self, StorageError> {
        let mut unfinished = Self::default();
        unfinished.read_records(trash, repository, rules).await?;
        unfinished.read_histories(trash, repository, rules, tags).await?;
        if !unfinished.lost.is_empty() {
            let there = manifests(inspect, repository).await?;
            let there: BTreeSet<Digest> = there.iter().map(|manifest| manifest.digest).collect();
            let records = &unfinished.records;
            unfinished
                .lost
                .retain(|digest, _| there.contains(digest) || records.contains_key(digest));
        }
        Ok(unfinished)
    }

    async fn read_records(
        &mut self,
        trash: &dyn StorageTrash,
        repository: &RepositoryName,
        rules: &Rules,
    ) -> Result<(), StorageError> {
        let mut after: Option<TrashId> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = trash.deleted(repository, page).await?;
            after = listed.items.last().map(|last| match last {
                Seen::Whole(record) => record.id,
                Seen::Unreadable { key, .. } => *key,
            });
            // One that cannot be read ends with the trash.
            for record in listed.items.into_iter().filter_map(Seen::whole) {
                self.records.insert(record.digest, record.id);
                let is_drop = !record.manifest_deleted && record.by.as_deref() == Some(BY);
                if is_drop
                    && record
                        .tags
                        .iter()
                        .any(|tag| could_be_dropped(rules, repository, tag))
                {
                    self.lose(record.digest, record.id.time());
                }
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Reads the histories of deleted tags, which outlive the records.
    async fn read_histories(
        &mut self,
        trash: &dyn StorageTrash,
        repository: &RepositoryName,
        rules: &Rules,
        tags: &BTreeSet<&Tag>,
    ) -> Result<(), StorageError> {
        let mut after: Option<Tag> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = trash.with_history(repository, page).await?;
            let deleted = listed
                .items
                .iter()
                .filter(|tag| !tags.contains(tag) && could_be_dropped(rules, repository, tag));
            for tag in deleted {
                if let Some((digest, at)) = dropped(&trash.history(repository, tag).await?) {
                    self.lose(digest, at);
                }
            }
            after = listed.items.last().cloned();
            if !listed.more {
                return Ok(());
            }
        }
    }

    fn lose(&mut self, digest: Digest, at: SystemTime) {
        let last = self.lost.entry(digest).or_insert(at);
        *last = at.max(*last);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lost.is_empty()
    }

    /// Adds the manifests that have gone already to the graph, so that what they name can follow. Returns all.
    pub(super) async fn add_to(
        &self,
        graph: &mut Graph,
        trash: &dyn StorageTrash,
        repository: &RepositoryName,
    ) -> Result<Lost, StorageError> {
        let mut waiting: Vec<Digest> = self.lost.keys().copied().collect();
        while let Some(digest) = waiting.pop() {
            let record = self.records.get(&digest).filter(|_| !graph.contains(&digest));
            let Some(record) = record else { continue };
            if let Document::Whole(stored) = trash.deleted_document(repository, record).await? {
                graph.add_removed(&stored);
                waiting.extend(graph.entries(&digest));
            }
        }
        Ok(self
            .lost
            .iter()
            .map(|(digest, at)| (*digest, Some(*at)))
            .collect())
    }
}

/// Returns true if rules can drop a tag: by themselves, or with the subject that it names.
fn could_be_dropped(rules: &Rules, repository: &RepositoryName, tag: &Tag) -> bool {
    rules.drop_tags_like(repository, tag) || subject_part(tag).is_some()
}

/// Returns the last target of a tag that retention has dropped, and the time of the drop.
fn dropped(history: &[TagEvent]) -> Option<(Digest, SystemTime)> {
    // A move before it may be missing.
    let last = history.last().filter(|last| last.by.as_deref() == Some(BY))?;
    Some((last.was?, last.at?))
}
