//! Tags that were lost: their histories know where they pointed, and of no deletion.
//!
//! A deletion is in the history before the tag is gone, and a new tag only when it is there. What was deleted, or has never
//! been there, is therefore not taken for lost, except if another program has deleted it. The clocks of two replicas decide
//! about a tag that one deletes in the moment before the other one has written that it is there.

use crate::{
    bucket::Meta,
    history::{Change, Entries, Entry, UNDER_WAY, last_part},
    keys,
    rung::Rung,
    scans::at_once,
    store::Store,
    tags::Link,
};
use futures_util::TryStreamExt as _;
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Listing, LostTag, Page, Result, Seen, TagEvent, Trashed},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

impl Store {
    /// Reads the history of a tag. Moves by registry:2, which keeps every target in `index/`, have no time. They are the
    /// oldest, except for one that the tag still shows.
    pub(crate) async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        let (own, past) = tokio::join!(
            self.own_events(repository, tag, &entries),
            self.past_targets(repository, tag)
        );
        let (own, past) = (own?, past?);
        let current = pointer.link.target();
        let is_last = own.last().is_some_and(|event| event.target == current);
        let newest = current.filter(|_| !is_last);
        let is_known = |target: &Digest| own.iter().any(|event| event.target == Some(*target));
        let mut events: Vec<TagEvent> = past
            .into_iter()
            .filter(|target| !is_known(target) && newest != Some(*target))
            .map(TagEvent::undated)
            .collect();
        events.extend(own);
        events.extend(newest.map(TagEvent::undated));
        Ok(events)
    }

    /// Lists the repositories with the history of a tag.
    pub(crate) async fn with_histories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_below(keys::HISTORY, "_tags", page).await
    }

    /// Lists the tags that have a history or exist.
    pub(crate) async fn with_history(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        let (ends, existing) = tokio::join!(self.last_entries(repository), self.existing_tags(repository));
        let mut tags = existing?;
        tags.extend(ends?.into_keys());
        let beyond = tags
            .into_iter()
            .filter(|tag| page.after.is_none_or(|after| tag > after));
        Ok(Listing::first(page.limit, beyond))
    }

    /// Removes the history of a tag that does not exist and was not lost, unless it has an entry at `ended_before` or
    /// later.
    pub(crate) async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        let _turn = self.turns.take(repository, tag).await;
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        let Some(last) = entries.last() else {
            return Ok(false);
        };
        let is_gone = pointer.link == Link::None && self.past_targets(repository, tag).await?.is_empty();
        if !is_gone
            || last.at() >= ended_before
            || self.lost_target(repository, tag, &entries).await?.is_some()
        {
            return Ok(false);
        }
        // An entry that is written meanwhile is another object, and stays.
        self.remove_all(repository, tag, &entries).await?;
        Ok(true)
    }

    /// Lists the lost tags of a repository, which need not exist.
    pub(crate) async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        // The histories first: whoever creates a tag meanwhile is in the second listing.
        let ends = self.last_entries(repository).await?;
        let existing = self.existing_tags(repository).await?;
        let mut deletions = None;
        let mut lost = Vec::new();
        for (tag, last) in ends {
            // One item beyond the page shows that there are more.
            if lost.len() > page.limit {
                break;
            }
            if existing.contains(&tag)
                || page.after.is_some_and(|after| tag <= *after)
                || last.change.target().is_none()
            {
                continue;
            }
            let (pointer, entries) = self.tag_state(repository, &tag).await?;
            if let Link::To(target) = pointer.link
                && self.is_unlisted(repository, &tag).await?
            {
                lost.push(Seen::Whole(LostTag::new(tag, target)));
                continue;
            }
            if pointer.link != Link::None {
                continue;
            }
            let deletions = match &mut deletions {
                Some(deletions) => deletions,
                unread => unread.insert(self.recorded_deletions(repository).await?),
            };
            let target = self.lost_after(&entries, deletions.get(&tag).copied());
            lost.extend(target.map(|target| Seen::Whole(LostTag::new(tag, target))));
        }
        Ok(Listing::first(page.limit, lost))
    }

    /// Returns the tags among listed objects that have entries of past targets and no link, and are in their logs.
    pub(crate) async fn unlinked_tags(
        &self,
        repository: &RepositoryName,
        objects: &[Meta],
    ) -> Result<BTreeSet<Tag>> {
        if self.rung != Rung::Log {
            return Ok(BTreeSet::new());
        }
        let directory = keys::tags(repository);
        let named = objects.iter().filter_map(|object| {
            let name = keys::name_in(&directory, &object.key)?;
            Tag::parse(name).ok()
        });
        let mut tags: BTreeSet<Tag> = named.collect();
        for object in objects {
            if let Some(tag) = keys::current_tag(&directory, &object.key) {
                tags.remove(&tag);
            }
        }
        let looks = tags.into_iter().map(|tag| async move {
            let is_there = self.pointer(repository, &tag).await?.link != Link::None;
            Ok(is_there.then_some(tag))
        });
        Ok(at_once(looks).await?.into_iter().flatten().collect())
    }

    /// Returns true if a tag that is in a log has no link, so that no listing shows it: whoever put it has stopped
    /// before the link was written, or a deletion of the link has arrived late.
    async fn is_unlisted(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        Ok(self.rung == Rung::Log && self.bucket.head(&keys::tag(repository, tag)).await?.is_none())
    }

    /// Returns the manifest that a lost tag pointed at. The tag has no link.
    pub(crate) async fn lost_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        entries: &Entries,
    ) -> Result<Option<Digest>> {
        if self.lost_after(entries, None).is_none() {
            return Ok(None);
        }
        let deletions = self.recorded_deletions(repository).await?;
        Ok(self.lost_after(entries, deletions.get(tag).copied()))
    }

    /// Returns the last target of a tag without a link, unless its history or a record tells of a later deletion.
    fn lost_after(&self, entries: &Entries, deleted: Option<SystemTime>) -> Option<Digest> {
        let last = entries.last_seen()?;
        let target = last.change.target()?;
        let is_settled = last.at() + UNDER_WAY < self.stamp();
        (is_settled && deleted < Some(last.at())).then_some(target)
    }

    /// Returns the times of the newest records of the deletions of tags.
    async fn recorded_deletions(&self, repository: &RepositoryName) -> Result<HashMap<Tag, SystemTime>> {
        let records = self.all_deleted(repository).await?;
        Ok(records
            .into_iter()
            .flat_map(|record| {
                let time = record.id.time();
                record.tags.into_iter().map(move |tag| (tag, time))
            })
            .collect())
    }

    /// Writes into the history of each tag of a deletion that it was deleted, if a crash has prevented that. The record,
    /// which says the same, is about to be removed.
    ///
    /// A failure is logged. At worst, the tag is then taken for lost, which keeps its content.
    pub(crate) async fn complete_histories(&self, repository: &RepositoryName, deleted: &Trashed) {
        for tag in &deleted.tags {
            if let Err(error) = self.complete_history(repository, tag, deleted).await {
                tracing::warn!(
                    %repository, %tag, error = &error as &dyn std::error::Error,
                    "the history of a deleted tag cannot be completed: the tag may be taken for lost until it is deleted again"
                );
            }
        }
    }

    async fn complete_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        deleted: &Trashed,
    ) -> Result<()> {
        let _turn = self.turns.take(repository, tag).await;
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        let is_before = |last: &Entry| last.change.target().is_some() && last.at() <= deleted.id.time();
        if pointer.link == Link::None && entries.last().is_some_and(is_before) {
            let change = Change::Deleted(Some(deleted.digest));
            self.write_entry(repository, tag, change, deleted.by.as_deref(), Some(&entries))
                .await?;
        }
        Ok(())
    }

    /// Returns the last entry of each history of a repository.
    async fn last_entries(&self, repository: &RepositoryName) -> Result<BTreeMap<Tag, Entry>> {
        let directory = keys::histories(repository);
        let mut last: BTreeMap<Tag, Entry> = BTreeMap::new();
        let mut listed = self.bucket.list(&directory);
        while let Some(meta) = listed.try_next().await? {
            let inner = meta.key.strip_prefix(&directory).and_then(|rest| rest.get(1..));
            let Some((tag, name)) = inner.and_then(|inner| inner.split_once('/')) else {
                continue;
            };
            let (Ok(tag), Some(entry)) = (Tag::parse(tag), Entry::parse(name)) else {
                continue;
            };
            match last.get_mut(&tag) {
                Some(known) if known.is_before(&entry) => *known = entry,
                Some(_) => {}
                None => {
                    last.insert(tag, entry);
                }
            }
        }
        Ok(last)
    }

    /// Returns the tags that have a link.
    async fn existing_tags(&self, repository: &RepositoryName) -> Result<BTreeSet<Tag>> {
        let directory = keys::tags(repository);
        let mut tags = BTreeSet::new();
        let mut listed = self.bucket.list(&directory);
        while let Some(meta) = listed.try_next().await? {
            if last_part(&meta.key).as_deref() != Some("link") {
                continue;
            }
            let inner = meta.key.strip_prefix(&directory).and_then(|rest| rest.get(1..));
            let name = inner.and_then(|inner| inner.strip_suffix("/current/link"));
            tags.extend(name.and_then(|name| Tag::parse(name).ok()));
        }
        Ok(tags)
    }
}
