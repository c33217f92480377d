//! Deleted manifests and tags of a repository in memory, and the history of its tags.

use super::upload::now;
use crate::{
    digest::Digest,
    manifest::Manifest,
    reference::Tag,
    storage::{Deletion, PutManifest, StoredManifest, TagEvent, TrashId, Trashed},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

/// Maximum number of records of a repository. They hold the bytes of manifests, and a host may never expire them.
const RECORDS: usize = 1000;

/// Maximum number of events in the history of a tag.
const EVENTS: usize = 1000;

/// Facts about a put that are in the history of its tags.
#[derive(Default)]
pub(super) struct Origin {
    by: Option<Arc<str>>,
    pub(super) restores: bool,
}

impl Origin {
    /// Takes the facts out of a put.
    pub(super) fn take(put: &mut PutManifest) -> Self {
        Self {
            by: put.by.take(),
            restores: put.restores,
        }
    }
}

/// Records and histories of one repository.
pub(super) struct Trash {
    pub(super) records: BTreeMap<TrashId, Record>,
    pub(super) histories: BTreeMap<Tag, VecDeque<TagEvent>>,
}

pub(super) struct Record {
    pub(super) trashed: Trashed,
    /// Shares its bytes with the repository as long as that has the manifest.
    pub(super) document: Option<StoredManifest>,
}

impl Record {
    /// Returns what the manifest names.
    pub(super) fn named(&self) -> Vec<Digest> {
        let document = self.document.as_ref();
        let manifest =
            document.and_then(|stored| Manifest::parse_stored(&stored.bytes, &stored.media_type).ok());
        manifest.map_or_else(Vec::new, |manifest| manifest.named().collect())
    }
}

impl Trash {
    pub(super) const fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            histories: BTreeMap::new(),
        }
    }

    /// Returns true if there is neither a record nor a history.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.histories.is_empty()
    }

    /// Records the deletion of a manifest with its tags.
    pub(super) fn manifest(&mut self, manifest: &StoredManifest, tags: &[Tag], how: &Deletion) {
        let record = |id| Trashed::manifest(id, manifest.digest, tags.to_vec());
        self.record(record, Some(manifest.clone()), how);
        for tag in tags {
            self.deletion(tag, manifest.digest, how);
        }
    }

    /// Records the deletion of a tag.
    pub(super) fn tag(
        &mut self,
        tag: &Tag,
        target: Digest,
        manifest: Option<StoredManifest>,
        how: &Deletion,
    ) {
        self.record(|id| Trashed::tag(id, tag.clone(), target), manifest, how);
        self.deletion(tag, target, how);
    }

    fn record(
        &mut self,
        trashed: impl FnOnce(TrashId) -> Trashed,
        document: Option<StoredManifest>,
        how: &Deletion,
    ) {
        if how.permanent {
            return;
        }
        let last = self.records.last_key_value().map(|(id, _)| *id);
        let id = TrashId::following(now(), last);
        let media_type = document.as_ref().map(|document| document.media_type.clone());
        let trashed = trashed(id).of_type(media_type).by(how.by.clone());
        self.records.insert(id, Record { trashed, document });
        if self.records.len() > RECORDS {
            self.records.pop_first();
        }
    }

    /// Removes the history of a tag, unless it has an event at `ended_before` or later.
    pub(super) fn forget_history(&mut self, tag: &Tag, ended_before: SystemTime) -> bool {
        let events = self.histories.get(tag).into_iter().flatten();
        let has_ended = events.clone().all(|event| event.at < Some(ended_before));
        has_ended && self.histories.remove(tag).is_some()
    }

    /// Adds to the history of a tag that the tag was put with the manifest that it pointed at.
    pub(super) fn put_again(&mut self, tag: &Tag, target: Digest) {
        let events = self.histories.entry(tag.clone()).or_default();
        match events.back_mut() {
            Some(last) if last.target == Some(target) => last.put_again = Some(now()),
            _ => self.moved(tag, target, &Origin::default()),
        }
    }

    fn deletion(&mut self, tag: &Tag, was: Digest, how: &Deletion) {
        let event = TagEvent::new(now(), None, how.by.clone());
        self.add(tag, event.with_was(Some(was)));
    }

    /// Adds a move to the history of a tag, which may undo a deletion.
    pub(super) fn moved(&mut self, tag: &Tag, target: Digest, origin: &Origin) {
        let event = TagEvent::new(now(), Some(target), origin.by.clone());
        self.add(tag, event.with_restored(origin.restores));
    }

    fn add(&mut self, tag: &Tag, event: TagEvent) {
        let events = self.histories.entry(tag.clone()).or_default();
        events.push_back(event);
        if events.len() > EVENTS {
            events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Algorithm, media_type::MediaType};

    #[test]
    fn records_and_histories_are_bounded_and_the_newest_stay() {
        let mut trash = Trash::new();
        let tag = Tag::parse("v1").unwrap();
        let digests: Vec<Digest> = (0..RECORDS + 5)
            .map(|number| Digest::of(Algorithm::Sha256, number.to_string().as_bytes()))
            .collect();
        for digest in &digests {
            let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
            let manifest = StoredManifest::new(*digest, media_type, "{}".into());
            trash.moved(&tag, *digest, &Origin::default());
            trash.manifest(&manifest, &[], &Deletion::new());
        }

        let kept: Vec<Digest> = trash
            .records
            .values()
            .map(|record| record.trashed.digest)
            .collect();
        assert_eq!(kept, digests[5..]);
        let moves: Vec<_> = trash.histories[&tag]
            .iter()
            .filter_map(|event| event.target)
            .collect();
        assert_eq!(moves, digests[digests.len() - EVENTS..]);
    }
}
