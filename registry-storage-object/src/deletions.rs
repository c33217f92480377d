//! Deletions by request.
//!
//! The order: a [mark](crate::marks) in the record of the manifest, or a [note](crate::deleting) of the deletion; the record in
//! the [trash](crate::trash); the tags; the record of the manifest; the tags again, because somebody may have put one meanwhile.
//! Whoever puts the manifest at the same time looks at its record at the end, and begins again if it has gone. The record in the trash relies on the content of the manifest, and is published as a push is.
//!
//! A deletion that stops may leave tags without a record of their manifest. Another deletion removes them.
//!
//! Requests to the store: about fourteen for a tag. For a manifest, a listing of all keys of the tags, twice, with 1,000 keys
//! each; each tag has at least two keys.

use crate::{
    bucket::{Condition, Sent, StoreTime},
    deleting::Deleting,
    error::restart,
    gate::Promised,
    keys,
    links::SECTIONS,
    marks::{Marked, REMOVAL},
    store::Store,
    tags::{Link, Untagged, Untagging},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Deletion, Page, Result, StorageError, StoredManifest, TagExpect},
};
use std::{collections::BTreeSet, time::Duration};

/// A deletion of a manifest, as far as it has come.
struct ManifestDeletion<'a> {
    repository: &'a RepositoryName,
    digest: &'a Digest,
    how: &'a Deletion,
    /// Time for which a section may remove the record.
    valid: Duration,
    /// Note of the section, until it sends the removal of the record.
    note: Option<Deleting>,
    /// The record with the mark of the section, until it is removed.
    marked: Option<Marked>,
    /// True if its record is in the trash.
    is_recorded: bool,
    /// True if there was such a manifest, or a tag that points at it.
    was_there: bool,
    /// Tags that it has removed.
    removed: BTreeSet<Tag>,
}

/// Outcome of the removal of a record.
enum Removed {
    /// It is gone. The request was valid until then.
    Answered(StoreTime),
    /// It is gone, and nothing is on its way.
    Outlasted,
    /// It is there, and nothing is on its way.
    Not,
}

impl Store {
    pub(crate) async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        self.delete_tag_of(repository, tag, expect, &how, true).await
    }

    async fn delete_tag_of(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: &Deletion,
        records: bool,
    ) -> Result<Option<Digest>> {
        for _ in 0..SECTIONS {
            let view = self.gate.view(&self.bucket).await?;
            let removal = Untagging {
                repository,
                tag,
                expect,
                how,
                records,
                view: &view,
            };
            if let Untagged::Gone(target) = self.untag(&removal).await? {
                return Ok(target);
            }
        }
        Err(restart(&format!("delete the tag {tag} of {repository}")))
    }

    pub(crate) async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let mut deletion = ManifestDeletion {
            repository,
            digest,
            how: &how,
            valid: self.moving,
            note: None,
            marked: None,
            is_recorded: false,
            was_there: false,
            removed: BTreeSet::new(),
        };
        for _ in 0..SECTIONS {
            let section = self.delete_section(&mut deletion).await;
            if let Some(unused) = deletion.note.take() {
                self.end_deletion(&unused, None).await;
            }
            if let Some(unused) = deletion.marked.take() {
                self.unmark(&unused).await;
            }
            if section? {
                let ManifestDeletion {
                    was_there, removed, ..
                } = deletion;
                return Ok(was_there.then(|| removed.into_iter().collect()));
            }
            // To look for the tags may have taken longer than the validity.
            deletion.valid = self.gate.times.publish_until();
        }
        Err(restart(&format!("delete {digest} of {repository}")))
    }

    /// Returns false if the section has to begin again.
    async fn delete_section(&self, deletion: &mut ManifestDeletion<'_>) -> Result<bool> {
        let ManifestDeletion {
            repository,
            digest,
            how,
            ..
        } = *deletion;
        let view = self.gate.view(&self.bucket).await?;
        // The record in the trash relies on the content, as a push does.
        let promised = [Promised::Manifest(repository, digest)];
        self.gate.promise(&self.bucket, &view, &promised).await?;
        let is_there = self.announce_deletion(deletion).await?;
        let (manifest, tags) = tokio::join!(
            self.revision(repository, digest),
            self.tag_of_page(repository, digest, Page::first(usize::MAX))
        );
        let tags = tags?.items;
        // A deletion that has stopped may have left tags without a record.
        deletion.was_there |= is_there || !tags.is_empty();
        if !deletion.was_there {
            return Ok(true);
        }
        let manifest = match manifest {
            Ok(None) => self.unrecorded(repository, digest).await,
            manifest => manifest,
        };
        if !deletion.is_recorded
            && !self
                .record_manifest(repository, digest, &manifest, &tags, how, view.fence())
                .await?
        {
            return Ok(false);
        }
        deletion.is_recorded = true;
        // registry:2 may have made it, which then has to exist without manifests, too.
        self.note_repository(repository, &view).await?;
        self.delete_tags_at(deletion, tags).await?;
        if is_there {
            self.note_gone(1).await?;
        }
        if is_there && !self.remove_revision(deletion, &manifest).await? {
            return Ok(false);
        }
        let late = self
            .tag_of_page(repository, digest, Page::first(usize::MAX))
            .await?
            .items;
        let has_late = !late.is_empty();
        self.delete_tags_at(deletion, late).await?;
        // A put of the manifest may have come meanwhile, whose tag is gone. So it has to come before this deletion.
        Ok((is_there && !has_late) || self.revision_link(repository, digest).await? == Link::None)
    }

    /// Tells puts of the manifest that its record is about to be removed. Returns false if there is none.
    async fn announce_deletion(&self, deletion: &mut ManifestDeletion<'_>) -> Result<bool> {
        let ManifestDeletion {
            repository, digest, ..
        } = *deletion;
        if self.has_marks() {
            deletion.marked = self.mark_link(&keys::revision(repository, digest)).await?;
            return Ok(deletion.marked.is_some());
        }
        let is_there = self.revision_link(repository, digest).await? != Link::None;
        if is_there {
            let notes = keys::deleting(repository, digest);
            deletion.note = self.note_deletion(&notes, deletion.valid).await?;
        }
        Ok(is_there)
    }

    /// Removes the record of a manifest, and its entry as a referrer. Returns false if the section has to begin again.
    async fn remove_revision(
        &self,
        deletion: &mut ManifestDeletion<'_>,
        manifest: &Result<Option<StoredManifest>>,
    ) -> Result<bool> {
        if let Some(marked) = &deletion.marked {
            let is_removed = self
                .remove_marked_revision(deletion.repository, marked, manifest)
                .await?;
            if is_removed {
                deletion.marked = None;
            }
            return Ok(is_removed);
        }
        let key = keys::revision(deletion.repository, deletion.digest);
        let note = deletion.note.take();
        let until = match &note {
            None => {
                self.remove_link(&key).await?;
                None
            }
            Some(note) => match self.remove_noted(&key, note).await? {
                Removed::Answered(until) => Some(until),
                Removed::Outlasted => None,
                Removed::Not => {
                    self.end_deletion(note, None).await;
                    return Ok(false);
                }
            },
        };
        if let Ok(Some(manifest)) = manifest {
            self.remove_referrer(deletion.repository, manifest).await?;
        }
        if let Some(note) = &note {
            self.end_deletion(note, until).await;
        }
        Ok(true)
    }

    /// Removes a record with a mark. Returns false if somebody has written it meanwhile.
    async fn remove_marked_revision(
        &self,
        repository: &RepositoryName,
        marked: &Marked,
        manifest: &Result<Option<StoredManifest>>,
    ) -> Result<bool> {
        // Before the record goes: whoever puts the manifest after that writes an entry that stays.
        let entry = match manifest {
            Ok(Some(manifest)) => self.mark_referrer(repository, manifest).await?,
            Ok(None) | Err(_) => None,
        };
        let is_removed = self.remove_marked(marked).await;
        match (&entry, &is_removed) {
            (None, _) => {}
            (Some(entry), Ok(true)) => {
                // The record has gone. An entry without one does no harm.
                if let Err(error) = self.remove_marked(entry).await {
                    tracing::debug!(%error, "cannot remove the entry of a referrer; the next deletion or collection does");
                }
            }
            (Some(entry), Ok(false) | Err(_)) => self.unmark(entry).await,
        }
        is_removed
    }

    /// Removes the link of a blob by request. Puts do not rely on it while the removal may take effect.
    pub(crate) async fn remove_layer(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let key = keys::layer(repository, digest);
        let notes = keys::deleting_blob(repository, digest);
        if self.has_marks() {
            return self.remove_by_mark(&key).await;
        }
        for _ in 0..SECTIONS {
            let Some(note) = self.note_deletion(&notes, self.moving).await? else {
                return self.remove_link(&key).await;
            };
            let until = match self.remove_noted(&key, &note).await? {
                Removed::Answered(until) => Some(until),
                Removed::Outlasted => None,
                Removed::Not => {
                    self.end_deletion(&note, None).await;
                    continue;
                }
            };
            self.end_deletion(&note, until).await;
            return Ok(());
        }
        Err(restart(&format!("remove {key}")))
    }

    /// Removes a record while the note of the deletion holds.
    async fn remove_noted(&self, key: &str, note: &Deleting) -> Result<Removed> {
        let fence = self.fence_of(REMOVAL);
        let fence = fence.filter(|fence| fence.expires() < note.fence.expires());
        let fence = fence.unwrap_or(note.fence);
        let sent = self.bucket.delete_once(key, &Condition::Any, Some(fence)).await;
        if sent.is_err() {
            // It has no effect.
            self.end_deletion(note, None).await;
        }
        match sent? {
            Sent::Done(_) | Sent::Refused => Ok(Removed::Answered(fence.expires())),
            Sent::Expired => Ok(Removed::Not),
            Sent::Unclear => {
                self.outlast(self.over(fence), key).await?;
                Ok(match self.bucket.head(key).await? {
                    None => Removed::Outlasted,
                    Some(_) => Removed::Not,
                })
            }
        }
    }

    /// Removes those of the tags that point at a manifest.
    async fn delete_tags_at(&self, deletion: &mut ManifestDeletion<'_>, tags: Vec<Tag>) -> Result<()> {
        let ManifestDeletion {
            repository,
            digest,
            how,
            ..
        } = *deletion;
        for tag in tags {
            let expect = TagExpect::Is(*digest);
            match self.delete_tag_of(repository, &tag, expect, how, false).await {
                Ok(_) => {
                    deletion.removed.insert(tag);
                }
                // Somebody has moved or removed it.
                Err(StorageError::TagConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
