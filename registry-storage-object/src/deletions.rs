//! Deletions by request.
//!
//! The order: the record in the [trash](crate::trash); the tags; the record of the manifest; the tags again, because
//! somebody may have put one meanwhile. Whoever puts the manifest at the same time looks at its record at the end, and
//! begins again if it has gone.
//!
//! Requests to the store: about twelve for a tag. For a manifest, a listing of all keys of the tags, twice, with 1,000 keys
//! each; each tag has at least two keys.

use crate::{
    error::restart,
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
        if self.revision_link(repository, digest).await? == Link::None {
            return Ok(None);
        }
        let (manifest, tags) = tokio::join!(
            self.revision(repository, digest),
            self.tag_of_page(repository, digest, Page::first(usize::MAX))
        );
        let tags = tags?.items;
        self.record_manifest(repository, digest, &manifest, &tags, &how)
            .await?;
        // registry:2 may have made it, which then has to exist without manifests, too.
        let view = self.gate.view(&self.bucket).await?;
        self.note_repository(repository, &view).await?;
        let mut removed = self.delete_tags_at(repository, digest, tags, &how).await?;
        self.note_gone(1).await?;
        self.remove_link(&keys::revision(repository, digest)).await?;
        if let Ok(Some(manifest)) = &manifest {
            self.remove_referrer(repository, manifest).await?;
        }
        let late = self
            .tag_of_page(repository, digest, Page::first(usize::MAX))
            .await?
            .items;
        removed.append(&mut self.delete_tags_at(repository, digest, late, &how).await?);
        Ok(Some(removed.into_iter().collect()))
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
