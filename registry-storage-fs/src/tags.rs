//! Tags: `tags/<tag>/current/link` is the target of a tag; `index/` beside it is the history that registry:2 keeps.
//!
//! A new tag is staged elsewhere and renamed whole: an incomplete directory in `tags/` would be listed, and a file
//! there stops registry:2's collector. `current/link` has an inode of its own, because registry:2 moves a tag by
//! writing into that file. If it were a hard link to another link file, that one would change too. No answer
//! depends on the history, so its directories are not synced.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
    history::Change,
    layout::TagPaths,
    links::{self, Link},
    locks::Held,
    names::digests_in,
    pauses::Point,
    sections::Section,
    store::Store,
    tag_index::Lease,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Deletion, Moved, PutManifest, PutOutcome, Result, StorageError, TagExpect, TagMove},
};
use std::{collections::VecDeque, fs, sync::Arc};

/// Tags that stay as they are until this is dropped.
#[derive(Default)]
pub(crate) struct LockedTags {
    pub(crate) tags: Vec<Tag>,
    pub(crate) locks: Vec<Held<(RepositoryName, Tag)>>,
}

/// Facts about a put that are in the history of its tags.
#[derive(Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    by: Option<&'a str>,
    restores: bool,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(put: &'a PutManifest) -> Self {
        Self {
            by: put.by.as_deref(),
            restores: put.restores,
        }
    }

    /// Returns the change of a tag. A restored tag that points at the manifest already is not changed.
    fn change(self, previous: Option<Digest>, to: &'a Digest) -> Option<Change<'a>> {
        match (previous == Some(*to), self.restores) {
            (false, false) => Some(Change::Moved(to)),
            (false, true) => Some(Change::Restored(to)),
            (true, false) => Some(Change::PutAgain(to)),
            (true, true) => None,
        }
    }
}

impl Store {
    /// Moves tags in their order, each under its own lock, until one fails or the section is blocked. Moved ones are
    /// taken from `moves`.
    pub(crate) fn move_tags(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        to: &Digest,
        moves: &mut VecDeque<TagMove>,
        origin: Origin<'_>,
        outcome: &mut PutOutcome,
    ) -> Result<()> {
        while let Some(TagMove { tag, expect, .. }) = moves.front() {
            match self.move_tag(section, repository, tag, to, *expect, origin) {
                Ok(Some(moved)) => outcome.moved.push(moved),
                Ok(None) => break,
                Err(error) => {
                    outcome.failed = Some((tag.clone(), error));
                    break;
                }
            }
            moves.pop_front();
        }
        Ok(())
    }

    /// Moves a tag. Returns `None` if it points at a manifest that is being removed, which blocks the section.
    fn move_tag(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        tag: &Tag,
        to: &Digest,
        expect: TagExpect,
        origin: Origin<'_>,
    ) -> Result<Option<Moved>> {
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        let moved = self.move_locked_tag(section, repository, tag, to, expect, origin);
        self.tag_versions.put(repository, tag);
        moved
    }

    /// Does the same for a tag whose lock the caller holds.
    fn move_locked_tag(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        tag: &Tag,
        to: &Digest,
        expect: TagExpect,
        origin: Origin<'_>,
    ) -> Result<Option<Moved>> {
        let paths = self.layout.tag(repository, tag);
        let previous = links::read(&paths.current())?;
        self.admit(repository, tag, previous, expect)?;
        // If the power fails before the move is durable, the tag points at this manifest again.
        if previous.is_some_and(|previous| !section.keep(&previous)) {
            return Ok(None);
        }
        let pointed = self.point_tag(&paths, previous, to);
        self.pauses.reach(Point::TagMoved);
        // After a failure the tag may point at either manifest, so it is a candidate of both.
        let from = previous.as_ref().filter(|_| pointed.is_ok());
        self.tag_index.moved(repository, tag, from, Some(to));
        if let Some(left) = from.filter(|from| *from != to) {
            self.release_manifest(repository, left);
        }
        pointed?;
        if let Some(change) = origin.change(previous, to) {
            self.add_to_history(repository, tag, change, origin.by);
        }
        Ok(Some(Moved::new(tag.clone(), previous)))
    }

    pub(crate) fn point_tag(&self, paths: &TagPaths, previous: Option<Digest>, to: &Digest) -> Result<()> {
        let link = to.to_string();
        let mut changes = self.disk.changes();
        if previous.is_some() || !self.place_tag(&mut changes, paths, to)? {
            if previous != Some(*to) {
                let index = paths.index(to);
                self.place(to, &index, || changes.put_derived(&index, link.as_bytes()))?;
                self.pauses.reach(Point::TagTargetAdded);
            }
            let current = paths.current();
            self.place(to, &current, || changes.ensure(&current, link.as_bytes()))?;
        }
        Ok(changes.settle()?)
    }

    /// Publishes a new tag as a whole; returns false if its directory exists, possibly without a link to a manifest.
    fn place_tag(
        &self,
        changes: &mut crate::changes::Changes<'_>,
        paths: &TagPaths,
        to: &Digest,
    ) -> Result<bool> {
        let link = to.to_string();
        let staged = self.disk.stage()?;
        let inside = TagPaths::below(staged.path.clone());
        let (index, current) = (inside.index(to), inside.current());
        changes.fill(&index, link.as_bytes())?;
        changes.fill(&current, link.as_bytes())?;
        Ok(changes.place(&staged, &current, &paths.directory)?)
    }

    pub(crate) fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: &Deletion,
    ) -> Result<Option<Digest>> {
        let removed = self.in_section(Vec::new(), |section| {
            // Until the removal is durable: if the power fails before, the tag points at its manifest again.
            self.remove_tag(repository, tag, expect, how, |target| section.keep(target))
        })?;
        if let Some(target) = &removed {
            self.release_manifest(repository, target);
        }
        Ok(removed)
    }

    /// Records the deletion of a tag and removes it. The tag stays unless its target is kept meanwhile, which `keep`
    /// ensures.
    fn remove_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: &Deletion,
        keep: impl FnOnce(&Digest) -> bool,
    ) -> Result<Option<Digest>> {
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        let link = self.pointer(&self.layout.tag(repository, tag))?;
        if link == Link::None && self.own_history(repository, tag).is_err() {
            self.admit(repository, tag, None, expect)?;
            self.delete_unknown(repository, tag)?;
            return Ok(None);
        }
        let current = match link {
            Link::To(target) => Some(target),
            Link::None => self.lost_for_deletion(repository, tag, expect)?,
            Link::Garbled => None,
        };
        self.admit(repository, tag, current, expect)?;
        if let (Link::None, Some(target)) = (link, &current) {
            self.delete_lost(repository, tag, target, how)?;
            return Ok(current);
        }
        if link == Link::Garbled {
            return self.remove_garbled_tag(repository, tag, how);
        }
        if let Some(target) = current.as_ref().filter(|target| keep(target)) {
            self.record_tag(repository, tag, target, how)?;
            self.pauses.reach(Point::DeleteTagRecorded);
            self.discard_tags(repository, std::slice::from_ref(tag), Some(target), how)?;
        }
        Ok(current)
    }

    /// Reads the link of a tag. It counts as garbled if it was lost: the history still names a manifest, and a new tag
    /// gets both at once.
    pub(crate) fn pointer(&self, paths: &TagPaths) -> Result<Link, FsError> {
        let link = links::look(&paths.current())?;
        if link != Link::None || self.last_target(paths)?.is_none() {
            return Ok(link);
        }
        // The tag may have been created meanwhile.
        Ok(match links::look(&paths.current())? {
            Link::None => Link::Garbled,
            created => created,
        })
    }

    /// Removes a tag whose link was lost or contains no digest, so that it no longer keeps a collection from removing
    /// anything of its repository. Returns the manifest that the tag pointed at last, which the record names, if that is
    /// known.
    fn remove_garbled_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        how: &Deletion,
    ) -> Result<Option<Digest>> {
        let last = self.last_target(&self.layout.tag(repository, tag))?;
        if let Some(last) = &last {
            self.record_tag(repository, tag, last, how)?;
        }
        self.discard_tags(repository, std::slice::from_ref(tag), None, how)?;
        Ok(last)
    }

    /// Returns the newest target of a tag in the history that registry:2 keeps, too. Each move writes its link again.
    pub(crate) fn last_target(&self, paths: &TagPaths) -> Result<Option<Digest>, FsError> {
        let mut newest = None;
        for algorithm in Algorithm::ALL {
            for target in digests_in(&paths.targets(algorithm), algorithm)? {
                let link = paths.index(&target);
                let Some(there) = fs::metadata(&link).if_there("read the metadata of", &link)? else {
                    continue;
                };
                newest = newest.max(Some((
                    there.modified().at("read the metadata of", &link)?,
                    target,
                )));
            }
        }
        Ok(newest.map(|(_, target)| target))
    }

    /// Removes a tag as [`delete_tag`](Self::delete_tag) does, if its link was lost or contains no digest. Puts a lost tag
    /// back. Returns false otherwise.
    pub(crate) fn mend_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        let lock = self.tags.lock((repository.clone(), tag.clone()));
        if self.pointer(&self.layout.tag(repository, tag))? == Link::Garbled {
            self.remove_garbled_tag(repository, tag, &Deletion::new())?;
            return Ok(true);
        }
        drop(lock);
        self.put_back(repository, tag)
    }

    /// Locks those of the tags, in byte order, that point at a manifest. Nothing else holds the locks of several tags.
    pub(crate) fn lock_tags_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        candidates: Vec<Tag>,
    ) -> Result<LockedTags> {
        let mut locked = LockedTags::default();
        for tag in candidates {
            let lock = self.tags.lock((repository.clone(), tag.clone()));
            if links::read(&self.layout.tag(repository, &tag).current())? == Some(*digest) {
                locked.tags.push(tag);
                locked.locks.push(lock);
            }
        }
        Ok(locked)
    }

    /// Removes the directories of tags that point at `target`, or nowhere, which readers see at once. The caller holds
    /// their locks.
    pub(crate) fn discard_tags(
        &self,
        repository: &RepositoryName,
        tags: &[Tag],
        target: Option<&Digest>,
        how: &Deletion,
    ) -> Result<()> {
        let mut changes = self.disk.changes();
        for tag in tags {
            let (paths, by) = (self.layout.tag(repository, tag), how.by.as_deref());
            // Before the removal: a tag without this would be taken for lost. A record says the same, and is durable.
            if how.permanent {
                // The log has a failure, which does not prevent the deletion.
                _ = self.add_deletion_durably(repository, tag, target, by);
            } else {
                self.add_to_history(repository, tag, Change::Deleted(target), by);
            }
            changes.discard(&paths.directory, &paths.current())?;
            self.pauses.reach(Point::TagDiscarded);
            self.tag_index.moved(repository, tag, target, None);
        }
        Ok(changes.settle()?)
    }

    /// Checks that a tag that now points at `current` may be moved or deleted. The caller holds its lock.
    fn admit(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        current: Option<Digest>,
        expect: TagExpect,
    ) -> Result<()> {
        if expect.admits(current.as_ref(), self.tag_versions.of(repository, tag)) {
            Ok(())
        } else {
            Err(StorageError::tag_conflict(tag.clone(), current))
        }
    }

    /// Builds the index from every tag of a repository, unless it is built.
    pub(crate) fn build_tag_index(&self, repository: &RepositoryName) -> Result<Lease> {
        self.tag_index.build(repository, |add| {
            self.pauses.reach(Point::TagIndexBegun);
            let read = self.read_tags(repository, add);
            self.pauses.reach(Point::TagIndexRead);
            read
        })
    }

    fn read_tags(&self, repository: &RepositoryName, add: &mut dyn FnMut(&Tag, &Digest)) -> Result<()> {
        for tag in self.tag_names(repository, None)? {
            self.require_open()?;
            if let Some(digest) = links::read(&self.layout.tag(repository, &tag).current())? {
                add(&tag, &digest);
            }
        }
        Ok(())
    }
}

impl FsStorage {
    /// Returns the index of the tags; `None` if it is not built, and the repository has no such manifest.
    pub(crate) async fn tags_pointing_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<Lease>>> {
        if let Some(built) = self.store().tag_index.lease(repository) {
            return Ok(Some(Arc::new(built)));
        }
        // For a manifest that the repository does not have, its tags are not read.
        let (name, digest) = (repository.clone(), *digest);
        let link = self.blocking(move |store| Ok(links::look(&store.layout.revision(&name, &digest))?));
        if link.await? == Link::None {
            return Ok(None);
        }
        self.tag_index(repository).await.map(Some)
    }

    /// Returns the index of the tags, which is built if necessary.
    pub(crate) async fn tag_index(&self, repository: &RepositoryName) -> Result<Arc<Lease>> {
        if let Some(built) = self.store().tag_index.lease(repository) {
            return Ok(Arc::new(built));
        }
        let name = repository.clone();
        let builds = &self.store().tag_builds;
        let built = self.build(builds, repository, move |store| store.build_tag_index(&name));
        built.await
    }
}
