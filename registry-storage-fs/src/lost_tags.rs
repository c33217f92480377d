//! Tags that were lost: their histories know where they pointed, and of no deletion.
//!
//! A deletion is in the history before the tag is gone. If the history cannot have it, the history goes, too. What was
//! deleted is therefore not taken for lost, except after a power loss, and if another program has deleted it.

use crate::{
    error::FsError,
    history::Change,
    links::{self, Link},
    moves::{is_there, parent},
    names::{names_after, parsed},
    store::Store,
};
use registry_core::{
    AnyDigest, Digest, RepositoryName, Tag,
    manifest::Manifest,
    storage::{
        Deletion, Document, Fault, FaultKind, Listing, LostTag, Page, Record, Result, Seen, StorageError,
        TagExpect, Trashed,
    },
};
use std::{
    collections::HashMap,
    error::Error as _,
    io::ErrorKind,
    time::{SystemTime, UNIX_EPOCH},
};

/// Name under which histories have the repair of a lost tag. No user has it: names of users contain no colon.
const REPAIR: &str = "registry:repair";

/// Number of records of deletions that are read at once.
const PAGE: usize = 1000;

/// Times of the newest records of the deletions of tags in one repository, which are read when they are needed.
#[derive(Default)]
struct Deletions(Option<HashMap<Tag, SystemTime>>);

impl Deletions {
    /// Returns the time of the last recorded deletion of a tag.
    fn of(&mut self, store: &Store, repository: &RepositoryName, tag: &Tag) -> Result<Option<SystemTime>> {
        let times = match &mut self.0 {
            Some(times) => times,
            unread => unread.insert(store.recorded_deletions(repository)?),
        };
        Ok(times.get(tag).copied())
    }
}

impl Store {
    /// Lists the lost tags of a repository, which need not exist.
    pub(crate) fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        let directory = self.layout.histories(repository);
        let names = names_after(&directory, page.after.map(Tag::as_str))?;
        let (mut found, mut deletions) = (Vec::new(), Deletions::default());
        for tag in parsed(directory, names, |name| Tag::parse(name).ok()) {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            self.require_open()?;
            let current = self.layout.tag(repository, &tag).current();
            if below(is_there(&current)).is_ok_and(|there| there == Some(true)) {
                continue;
            }
            let lock = self.tags.lock((repository.clone(), tag.clone()));
            let lost = self.lost_target(repository, &tag, &mut deletions);
            drop(lock);
            match lost {
                Ok(lost) => found.extend(lost.map(|target| Seen::Whole(LostTag::new(tag, target)))),
                Err(error) => found.push(Seen::unreadable(tag, with_cause(&error))),
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns the manifest that a lost tag pointed at, for its deletion. The caller holds the lock of the tag.
    ///
    /// The records of deletions are not read if the deletion expects that manifest. If one of them is newer, the same
    /// deletion is repeated, which changes nothing. Otherwise, each of many deletions would read the records of the others.
    pub(crate) fn lost_for_deletion(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
    ) -> Result<Option<Digest>> {
        if let (Some((_, target)), TagExpect::Is(expected)) = (self.undeleted(repository, tag)?, expect)
            && target == expected
        {
            return Ok(Some(target));
        }
        self.lost_at(repository, tag)
    }

    /// Returns the manifest that a lost tag pointed at. The caller holds the lock of the tag.
    pub(crate) fn lost_at(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.lost_target(repository, tag, &mut Deletions::default())
    }

    fn lost_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        deletions: &mut Deletions,
    ) -> Result<Option<Digest>> {
        let Some((moved, target)) = self.undeleted(repository, tag)? else {
            return Ok(None);
        };
        let deleted = deletions.of(self, repository, tag)?;
        // Times in histories are in whole seconds.
        Ok((deleted < Some(moved)).then_some(target))
    }

    /// Returns the last move of a tag that does not exist, unless its history or the record of the manifest tells of a
    /// deletion.
    fn undeleted(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<(SystemTime, Digest)>> {
        let pointer = below(self.pointer(&self.layout.tag(repository, tag)))?;
        if pointer.unwrap_or(Link::None) != Link::None {
            return Ok(None);
        }
        let Some((moved, target)) = self.last_move(repository, tag)? else {
            return Ok(None);
        };
        let was_deleted = self.was_deleted(repository, &target)?;
        Ok((!was_deleted).then_some((moved, target)))
    }

    /// Returns the time and the target of the last event of a tag, if it is a move.
    fn last_move(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<(SystemTime, Digest)>, FsError> {
        let last = self.own_history(repository, tag)?.pop();
        Ok(last.and_then(|last| {
            let moved = last.put_again.or(last.at).unwrap_or(UNIX_EPOCH);
            Some((moved, last.target?))
        }))
    }

    /// Returns true if a request has deleted a manifest, and its tags with it: that leaves the directory of the link.
    fn was_deleted(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, FsError> {
        let link = self.layout.revision(repository, digest);
        let directory = parent(&link);
        let has_directory = below(is_there(directory))?.unwrap_or(false);
        Ok(has_directory && links::look_of(&link, digest)? == Link::None)
    }

    fn recorded_deletions(&self, repository: &RepositoryName) -> Result<HashMap<Tag, SystemTime>> {
        let (mut times, mut after) = (HashMap::new(), None);
        loop {
            let listing = self.deleted(repository, &Page::first(PAGE).after(after.as_ref()))?;
            for item in listing.items {
                after = Some(match item {
                    Seen::Whole(record) => {
                        times.extend(record.tags.into_iter().map(|tag| (tag, record.id.time())));
                        record.id
                    }
                    // It keeps everything by itself.
                    Seen::Unreadable { key, .. } => key,
                    _ => break,
                });
            }
            if !listing.more {
                return Ok(times);
            }
        }
    }

    /// Writes into the history of each tag of a deletion that it was deleted, if a crash has prevented that. The record,
    /// which says the same, is about to be removed.
    ///
    /// A failure is logged. At worst, the tag is then taken for lost, which keeps its content.
    pub(crate) fn complete_histories(&self, repository: &RepositoryName, deleted: &Trashed) {
        let (mut failed, mut first) = (0, None);
        for tag in &deleted.tags {
            if let Err(error) = self.complete_history(repository, tag, deleted) {
                failed += 1;
                first.get_or_insert((tag, error));
            }
        }
        if let Some((tag, error)) = first {
            tracing::warn!(
                %repository, %tag, failed, %error, cause = %error.source(),
                "the history of a deleted tag cannot be completed: the tag may be taken for lost until it is deleted again. \
                 Other tags that were deleted with it are only counted"
            );
        }
    }

    fn complete_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        deleted: &Trashed,
    ) -> Result<(), FsError> {
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        let is_before = |moved: SystemTime| moved <= deleted.id.time();
        let last = self.last_move(repository, tag)?;
        if last.is_some_and(|(moved, _)| is_before(moved))
            && below(self.pointer(&self.layout.tag(repository, tag)))?.unwrap_or(Link::None) == Link::None
        {
            self.add_deletion_durably(repository, tag, Some(&deleted.digest), deleted.by.as_deref())?;
        }
        Ok(())
    }

    /// Deletes a lost tag: only its history is left of it. The caller holds its lock.
    pub(crate) fn delete_lost(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        target: &Digest,
        how: &Deletion,
    ) -> Result<()> {
        self.record_tag(repository, tag, target, how)?;
        Ok(self.add_deletion_durably(repository, tag, Some(target), how.by.as_deref())?)
    }

    /// Deletes a tag of which nothing is left but a history that cannot be read. The caller holds its lock.
    pub(crate) fn delete_unknown(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let path = self.layout.history(repository, tag);
        if below(self.drop_history(&path))?.is_some() {
            tracing::warn!(
                %repository, %tag, path = %path.display(),
                "the history of a deleted tag could not be read, and was removed: the deletion cannot be undone"
            );
        }
        Ok(())
    }

    /// Describes a lost tag; `None` if a tag is not lost.
    pub(crate) fn fault_of_lost_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Fault>> {
        let lock = self.tags.lock((repository.clone(), tag.clone()));
        let Some(target) = self.lost_at(repository, tag)? else {
            return Ok(None);
        };
        drop(lock);
        let place = self.layout.tag(repository, tag).current().display().to_string();
        let obstacle = self.obstacle(repository, &target)?;
        let mut reason = format!("it pointed at {target}, and nobody is known to have deleted it");
        if let Some(obstacle) = &obstacle {
            reason = format!("{reason}; {obstacle}");
        }
        let fault = Fault::new(Record::Tag(tag.clone()), FaultKind::Lost, place, reason);
        Ok(Some(fault.with_mendable(obstacle.is_none())))
    }

    /// Returns the reason for which a lost tag cannot point at a manifest again.
    fn obstacle(&self, repository: &RepositoryName, target: &Digest) -> Result<Option<String>> {
        if self.revision(repository, target)?.is_some() {
            return Ok(None);
        }
        let is_recorded = self.manifest_info(repository, target)?.is_some();
        if is_recorded || !self.is_whole_document(repository, target) {
            return Ok(Some("the manifest is damaged or gone".into()));
        }
        let Document::Whole(found) = self.unrecorded_document(repository, target)? else {
            return Ok(Some("the manifest is gone".into()));
        };
        let Ok(manifest) = Manifest::parse_stored(&found.bytes, &found.media_type) else {
            return Ok(Some("the manifest is of no known kind".into()));
        };
        // As long as the tag is lost, the content of the others stays.
        for child in manifest.manifests() {
            if let AnyDigest::Known(digest) = child.digest
                && self.manifest_info(repository, &digest)?.is_none()
            {
                return Ok(Some(format!(
                    "its repository has lost {digest}, which is a part of it"
                )));
            }
        }
        Ok(None)
    }

    /// Lets a lost tag point again where it pointed last. Returns false if that is not possible.
    pub(crate) fn put_back(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        let fault = self.fault_of_lost_tag(repository, tag)?;
        if !fault.is_some_and(|fault| fault.mendable) {
            return Ok(false);
        }
        let lost = || {
            let _lock = self.tags.lock((repository.clone(), tag.clone()));
            self.lost_at(repository, tag)
        };
        let Some(target) = lost()? else {
            return Ok(false);
        };
        // Its record may have gone with the tag.
        self.mend(repository, &Record::Manifest(target))?;
        let _section = self.mending(repository, &target);
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        if self.lost_at(repository, tag)? != Some(target) || self.revision(repository, &target)?.is_none() {
            return Ok(false);
        }
        let pointed = self.point_tag(&self.layout.tag(repository, tag), None, &target);
        // After a failure it may point there.
        self.tag_index.moved(repository, tag, None, Some(&target));
        self.tag_versions.put(repository, tag);
        pointed?;
        self.add_to_history(repository, tag, Change::Restored(&target), Some(REPAIR));
        Ok(true)
    }
}

fn with_cause(error: &StorageError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Returns what is below a directory: nothing if a file is in its place.
fn below<T>(found: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage,
        faults::fail,
        seams,
        support::{all, manifest, name, put, tag, writer},
    };
    use registry_core::storage::StorageTrash as _;
    use rustix::io::Errno;
    use std::fs;

    /// Returns a storage with tags of which only the histories are left, and the manifest that they pointed at.
    async fn losing(root: &std::path::Path, tags: &[&str]) -> (FsStorage, Digest) {
        let storage = FsStorage::open(root).unwrap();
        let image = manifest("1");
        let digest = *image.digest();
        put(&storage, &name("a"), image, tags).await;
        for lost in tags {
            fs::remove_dir_all(storage.store().layout.tag(&name("a"), &tag(lost)).directory).unwrap();
        }
        (storage, digest)
    }

    #[tokio::test]
    async fn the_loss_of_many_tags_is_accepted_without_a_look_at_the_records_of_the_others() {
        const TAGS: [&str; 5] = ["v1", "v2", "v3", "v4", "v5"];
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = losing(root.path(), &TAGS).await;
        let records = storage.store().layout.deletions(&name("a"));
        seams::watch(&records);

        for lost in TAGS {
            let (repository, lost) = (name("a"), tag(lost));
            let expect = TagExpect::Is(digest);
            let deleted = writer(&storage).delete_tag(&repository, &lost, expect, Deletion::new());
            assert_eq!(deleted.await.unwrap(), Some(digest));
        }

        assert_eq!(seams::watch(&records).entries, 0);
        let recorded = storage.deleted(&name("a"), all()).await.unwrap();
        assert_eq!(recorded.items.len(), TAGS.len());
        let lost = storage.lost_tags(&name("a"), all()).await.unwrap();
        assert_eq!(lost.items, []);
    }

    #[tokio::test]
    async fn a_loss_is_not_accepted_if_the_history_can_be_neither_written_nor_removed() {
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = losing(root.path(), &["v1"]).await;
        let (store, a, v1) = (storage.store(), name("a"), tag("v1"));
        let how = Deletion::new().permanently();
        let _fault = fail(&store.layout.history(&a, &v1), Errno::IO);

        store.delete_lost(&a, &v1, &digest, &how).unwrap_err();
        let deletion = writer(&storage).delete_tag(&a, &v1, TagExpect::Any, how);
        deletion.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_record_is_forgotten_although_the_history_of_its_tag_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        let (storage, _) = losing(root.path(), &["v1"]).await;
        let (a, v1) = (name("a"), tag("v1"));
        let deletion = writer(&storage).delete_tag(&a, &v1, TagExpect::Any, Deletion::new());
        assert!(deletion.await.unwrap().is_some());
        let recorded = storage.deleted(&a, all()).await.unwrap().items.pop();
        let id = recorded.and_then(Seen::whole).unwrap().id;
        let _fault = fail(&storage.store().layout.history(&a, &v1), Errno::IO);

        assert!(storage.forget(&a, &id).await.unwrap());

        assert_eq!(storage.deleted(&a, all()).await.unwrap().items, []);
    }
}
