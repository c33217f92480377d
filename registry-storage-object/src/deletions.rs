//! Deletions by request.
//!
//! The order: the record in the [trash](crate::trash); the tags; the record of the manifest; the tags again, because
//! somebody may have put one meanwhile. Whoever puts the manifest at the same time looks at its record at the end, and
//! begins again if it has gone. The record in the trash relies on the content of the manifest, and is published as a push is.
//!
//! A deletion that stops may leave tags without a record of their manifest. Another deletion removes them.
//!
//! Requests to the store: about twelve for a tag. For a manifest, a listing of all keys of the tags, twice, with 1,000 keys
//! each; each tag has at least two keys.

use crate::{
    error::restart,
    gate::Promised,
    keys,
    links::SECTIONS,
    store::Store,
    tags::{Link, Untagged, Untagging},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Deletion, Page, Result, StorageError, TagExpect},
};
use std::collections::BTreeSet;

/// Outcome of a section of the deletion of a manifest.
enum Deleted {
    /// It is gone, with these tags. `None` if there was no such manifest.
    Done(Option<BTreeSet<Tag>>),
    /// The view has become too old, and nothing was done: the section has to begin again.
    Expired,
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
        for _ in 0..SECTIONS {
            let deleted = self.delete_section(repository, digest, &how).await?;
            if let Deleted::Done(tags) = deleted {
                return Ok(tags.map(|tags| tags.into_iter().collect()));
            }
        }
        Err(restart(&format!("delete {digest} of {repository}")))
    }

    async fn delete_section(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: &Deletion,
    ) -> Result<Deleted> {
        let view = self.gate.view(&self.bucket).await?;
        // The record in the trash relies on the content, as a push does.
        let promised = [Promised::Manifest(repository, digest)];
        self.gate.promise(&self.bucket, &view, &promised).await?;
        let (link, manifest, tags) = tokio::join!(
            self.revision_link(repository, digest),
            self.revision(repository, digest),
            self.tag_of_page(repository, digest, Page::first(usize::MAX))
        );
        let (link, tags) = (link?, tags?.items);
        // A deletion that has stopped may have left tags without a record.
        if link == Link::None && tags.is_empty() {
            return Ok(Deleted::Done(None));
        }
        let manifest = match manifest {
            Ok(None) => self.unrecorded(repository, digest).await,
            manifest => manifest,
        };
        if !self
            .record_manifest(repository, digest, &manifest, &tags, how, view.fence())
            .await?
        {
            return Ok(Deleted::Expired);
        }
        // registry:2 may have made it, which then has to exist without manifests, too.
        self.note_repository(repository, &view).await?;
        let mut removed = self.delete_tags_at(repository, digest, tags, how).await?;
        if link != Link::None {
            self.note_gone(1).await?;
            self.remove_link(&keys::revision(repository, digest)).await?;
        }
        if let Ok(Some(manifest)) = &manifest {
            self.remove_referrer(repository, manifest).await?;
        }
        let late = self
            .tag_of_page(repository, digest, Page::first(usize::MAX))
            .await?
            .items;
        removed.append(&mut self.delete_tags_at(repository, digest, late, how).await?);
        Ok(Deleted::Done(Some(removed)))
    }

    /// Removes those of the tags that point at a manifest, and returns them.
    async fn delete_tags_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tags: Vec<Tag>,
        how: &Deletion,
    ) -> Result<BTreeSet<Tag>> {
        let mut removed = BTreeSet::new();
        for tag in tags {
            let expect = TagExpect::Is(*digest);
            match self.delete_tag_of(repository, &tag, expect, how, false).await {
                Ok(_) => {
                    removed.insert(tag);
                }
                // Somebody has moved or removed it.
                Err(StorageError::TagConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}
