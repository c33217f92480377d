//! [`Survey`]: what one repository holds, and what keeps it.

use super::{
    graph::Graph,
    lost::Lost,
    marks::{Hold, Key, Marks, Salt},
    pin::{Pin, PinCause, text_of},
    references::References,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{Document, HeldManifest, Page, Result, Seen, StorageInspect, StorageTrash, UploadState},
};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

/// Number of items that are listed at once.
pub(super) const PAGE: usize = 1000;

/// Rules by which content of a repository stays.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// True if manifests that nothing refers to are removed unless a tag points at them.
    pub(super) untagged: bool,
    /// A repository with an upload session that is younger keeps the blobs that nothing names.
    pub(super) uploading: Duration,
    pub(super) now: SystemTime,
}

/// Content of one repository, with the reasons for which it stays.
#[derive(Default)]
pub(super) struct Survey {
    /// The manifests, and the targets of tags.
    pub(super) graph: Graph,
    /// Number of manifests of which the repository has a record.
    pub(super) manifests: u64,
    /// Digests that stay although no manifest of the graph names them: of tags, of deletions that can be undone, and
    /// of sessions that are being committed.
    pub(super) extra: Vec<(Key, Hold)>,
    /// True if blobs that nothing names stay, because a client may be pushing a manifest for them.
    pub(super) is_uploading: bool,
    /// True if everything stays, because something that cannot be read may refer to it.
    pub(super) is_pinned: bool,
    /// True if all bytes of the storage stay, because a lost tag may refer to any of them.
    pub(super) keeps_all_data: bool,
    /// True if it has tags or sessions.
    pub(super) is_occupied: bool,
    pub(super) pins: Vec<Pin>,
}

/// Content that the records of the deletions in a repository keep.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) named: Vec<Digest>,
    /// Number of tags in the records.
    pub(super) tags: u64,
    /// Number of manifests in the records.
    pub(super) manifests: u64,
    pub(super) pins: Vec<Pin>,
}

/// Means to survey the repositories of a storage.
#[derive(Clone, Copy)]
pub(super) struct Surveyor<'a> {
    pub(super) inspect: &'a dyn StorageInspect,
    /// `None` if records of deletions keep nothing.
    pub(super) trash: Option<&'a dyn StorageTrash>,
    /// Histories of tags, which know of lost ones.
    pub(super) histories: Option<&'a dyn StorageTrash>,
    pub(super) salt: &'a Salt,
    pub(super) rules: Rules,
}

impl Surveyor<'_> {
    /// Looks at everything in a repository. An item that cannot be read is a pin.
    pub(super) async fn survey(&self, name: &RepositoryName) -> Result<Survey> {
        let mut survey = Survey::default();
        let targets = self.tags(name, &mut survey).await?;
        let unreadable = self.manifests(name, &mut survey).await?;
        survey.manifests = survey.graph.len() as u64;
        let lost = self.lost(name, &mut survey).await;
        // A tag keeps its target also if the record of that was lost, as registry:2 may do it.
        for target in &targets {
            survey.graph.insert(&HeldManifest::new(*target));
        }
        self.sessions(name, &mut survey).await?;
        for (digest, reason) in unreadable {
            survey.pin(name, PinCause::Record(digest), reason);
        }
        self.documents(name, &mut survey).await?;
        // After the manifests: a deletion writes its record before it removes anything.
        self.deleted(name, &mut survey).await?;

        for target in targets {
            if let Some(index) = survey.graph.find(&target) {
                survey.graph.keep(index, Hold::Use);
            }
        }
        for target in lost {
            if let Some(index) = survey.graph.find(&target) {
                survey.graph.keep(index, Hold::Pin);
            }
        }
        if survey.is_pinned {
            survey.graph.keep_all(Hold::Pin);
        }
        if !self.rules.untagged {
            survey.graph.keep_all(Hold::Untagged);
        }
        Ok(survey)
    }

    /// Lists the targets of all tags.
    async fn tags(&self, name: &RepositoryName, survey: &mut Survey) -> Result<BTreeSet<Digest>> {
        let (mut targets, mut after) = (BTreeSet::new(), None);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.inspect.tag_targets(name, page).await?;
            survey.is_occupied |= !listing.items.is_empty();
            for item in listing.items {
                match item {
                    Seen::Whole(target) => {
                        targets.insert(target.digest);
                        after = Some(target.tag);
                    }
                    Seen::Unreadable { key, reason } => {
                        survey.pin(name, PinCause::Tag(key.clone()), reason);
                        after = Some(key);
                    }
                }
            }
            if !listing.more {
                return Ok(targets);
            }
        }
    }

    /// Lists the manifests. Returns those whose records cannot be read, with the reasons.
    async fn manifests(&self, name: &RepositoryName, survey: &mut Survey) -> Result<Vec<(Digest, String)>> {
        let (mut unreadable, mut after) = (Vec::new(), None);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.inspect.manifests(name, page).await?;
            for item in listing.items {
                let held = match item {
                    Seen::Whole(held) => held,
                    Seen::Unreadable { key, reason } => {
                        unreadable.push((key, reason));
                        HeldManifest::new(key)
                    }
                };
                after = Some(held.digest);
                survey.graph.push(&held);
            }
            if !listing.more {
                return Ok(unreadable);
            }
        }
    }

    /// Looks for lost tags, once all manifests are known. Returns the manifests that they pointed at.
    async fn lost(&self, name: &RepositoryName, survey: &mut Survey) -> Vec<Digest> {
        let Some(histories) = self.histories else {
            return Vec::new();
        };
        let lost = Lost::of(histories, name).await;
        let is_here = |target: &Digest| survey.graph.find(target).is_some();
        if lost.is_incomplete || !lost.targets.iter().all(is_here) {
            survey.is_pinned = true;
            survey.keeps_all_data = true;
        }
        survey.is_occupied |= !lost.pins.is_empty();
        survey.pins.extend(lost.pins);
        lost.targets
    }

    /// Looks at the upload sessions.
    async fn sessions(&self, name: &RepositoryName, survey: &mut Survey) -> Result<()> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.inspect.uploads(name, page).await?;
            survey.is_occupied |= !listing.items.is_empty();
            for item in listing.items {
                match item {
                    Seen::Whole(session) => {
                        survey.is_uploading |= self.is_young(&session);
                        let committing = session.committing.map(|digest| self.salt.key(&digest));
                        survey.extra.extend(committing.map(|key| (key, Hold::Use)));
                        after = Some(session.id);
                    }
                    Seen::Unreadable { key, reason } => {
                        // It may be committing any blob.
                        survey.pin(name, PinCause::Session(key), reason);
                        after = Some(key);
                    }
                }
            }
            if !listing.more {
                return Ok(());
            }
        }
    }

    fn is_young(&self, session: &UploadState) -> bool {
        let age = session
            .touched
            .map(|touched| self.rules.now.duration_since(touched));
        // A session of unknown age, or of the future, may be in use.
        !matches!(age, Some(Ok(age)) if age >= self.rules.uploading)
    }

    /// Reads all documents, one at a time.
    async fn documents(&self, name: &RepositoryName, survey: &mut Survey) -> Result<()> {
        let (mut damaged, mut before) = (Vec::new(), None);
        let mut lost = Vec::new();
        for index in 0..survey.graph.len() {
            let Some(digest) = survey.graph.node(index).map(|node| node.digest) else {
                break;
            };
            let previous = before.replace(digest);
            let mut is_damaged = false;
            let references = match self.inspect.document(name, &digest).await {
                Ok(Document::Whole(manifest)) => References::of(&manifest.bytes, &manifest.media_type),
                Ok(Document::Damaged(bytes)) => {
                    // The damage may be in a digest.
                    is_damaged = true;
                    survey.is_pinned = true;
                    References::guessed(&bytes)
                }
                Ok(Document::Lost) => {
                    if self.is_recorded(name, previous, &digest).await?
                        || self.is_tagged(name, &digest).await?
                    {
                        survey.pin(name, PinCause::Bytes(digest), "the bytes are gone".into());
                    } else {
                        lost.push(digest);
                    }
                    continue;
                }
                Err(error) => {
                    survey.pin(name, PinCause::Bytes(digest), text_of(&error));
                    continue;
                }
            };
            let keys = references
                .named
                .iter()
                .map(|named| self.salt.key(named))
                .collect();
            let subject = references.subject.as_ref();
            survey.graph.refer(index, &references.named, keys, subject);
            if !references.is_certain {
                let reason = match is_damaged {
                    true => "it may refer to anything in its repository",
                    false => "it is no known kind of manifest, and every digest in it counts as a reference",
                };
                survey
                    .pins
                    .push(Pin::new(name, PinCause::Damage(digest), reason.into()));
                damaged.push(index);
            }
        }
        // They stay until they are deleted or put again.
        for index in damaged {
            survey.graph.keep(index, Hold::Pin);
        }
        if !lost.is_empty() {
            self.dangling(name, lost, survey).await?;
        }
        Ok(())
    }

    /// Looks again at all tags, since a storage may find the tags of a manifest by records that damage has made stale. One
    /// that points at nothing may have pointed at any manifest.
    async fn dangling(&self, name: &RepositoryName, lost: Vec<Digest>, survey: &mut Survey) -> Result<()> {
        let targets = self.tags(name, &mut Survey::default()).await?;
        for digest in lost {
            // It may have been pushed again, with the tag.
            if targets.contains(&digest)
                && !matches!(self.inspect.document(name, &digest).await, Ok(Document::Whole(_)))
            {
                survey.pin(name, PinCause::Bytes(digest), "the bytes are gone".into());
            }
        }
        Ok(())
    }

    /// Keeps what can be restored.
    async fn deleted(&self, name: &RepositoryName, survey: &mut Survey) -> Result<()> {
        let Some(trash) = self.trash else {
            return Ok(());
        };
        let trashed = self.trashed(trash, name).await?;
        for digest in &trashed.named {
            survey.extra.push((self.salt.key(digest), Hold::Trash));
            if let Some(index) = survey.graph.find(digest) {
                survey.graph.keep(index, Hold::Trash);
            }
        }
        survey.is_pinned |= !trashed.pins.is_empty();
        survey.pins.extend(trashed.pins);
        Ok(())
    }

    /// Returns what the records of the deletions in a repository keep.
    pub(super) async fn trashed(&self, trash: &dyn StorageTrash, name: &RepositoryName) -> Result<Kept> {
        let (mut kept, mut after) = (Kept::default(), None);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = trash.deleted(name, page).await?;
            for item in listing.items {
                let record = match item {
                    Seen::Whole(record) => record,
                    Seen::Unreadable { key, reason } => {
                        kept.pins.push(Pin::new(name, PinCause::Deleted(key), reason));
                        after = Some(key);
                        continue;
                    }
                };
                after = Some(record.id);
                kept.tags += record.tags.len() as u64;
                kept.manifests += u64::from(record.manifest_deleted);
                kept.named.extend([record.digest, record.stored]);
                match trash.deleted_document(name, &record.id).await {
                    Ok(Document::Whole(manifest)) => {
                        let references = References::of(&manifest.bytes, &manifest.media_type);
                        kept.named.extend(references.named);
                    }
                    Ok(Document::Damaged(bytes)) => kept.named.extend(References::guessed(&bytes).named),
                    // Nothing can be restored.
                    Ok(Document::Lost) => {}
                    Err(error) => {
                        let pin = Pin::new(name, PinCause::Deleted(record.id), text_of(&error));
                        kept.pins.push(pin);
                    }
                }
            }
            if !listing.more {
                return Ok(kept);
            }
        }
    }

    /// Returns true if a tag points at a manifest now, which is deleted after its tags.
    async fn is_tagged(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        let tags = self.inspect.tags_of(name, digest, Page::first(1)).await?;
        Ok(!tags.items.is_empty())
    }

    /// Returns true unless a manifest was deleted since it was listed after `before`.
    async fn is_recorded(
        &self,
        name: &RepositoryName,
        mut before: Option<Digest>,
        digest: &Digest,
    ) -> Result<bool> {
        loop {
            let page = Page::first(1).after(before.as_ref());
            let listing = self.inspect.manifests(name, page).await?;
            let found = listing.items.first().map(|item| match item {
                Seen::Whole(held) => held.digest,
                Seen::Unreadable { key, .. } => *key,
            });
            match found {
                Some(found) if found < *digest => before = Some(found),
                found => return Ok(found == Some(*digest)),
            }
        }
    }
}

impl Survey {
    /// Keeps everything in the repository.
    fn pin(&mut self, name: &RepositoryName, cause: PinCause, reason: String) {
        self.is_pinned = true;
        self.pins.push(Pin::new(name, cause, reason));
    }

    /// Returns everything that the repository names, with what keeps it.
    pub(super) fn named(&self, salt: &Salt) -> Marks {
        let mut marks = Marks::new();
        for (key, hold) in self.held(salt) {
            marks.add(key, hold);
        }
        marks
    }

    /// Returns the keys of everything that stays: the manifests, and what they and the tags name.
    pub(super) fn held(&self, salt: &Salt) -> impl Iterator<Item = (Key, Hold)> {
        let nodes = self
            .graph
            .nodes()
            .filter_map(|(_, node)| Some((node, node.hold?)));
        let nodes = nodes.flat_map(|(node, hold)| {
            let own = [salt.key(&node.digest), salt.key(&node.stored)];
            own.into_iter()
                .chain(node.named.iter().copied())
                .map(move |key| (key, hold))
        });
        nodes.chain(self.extra.iter().copied())
    }
}
