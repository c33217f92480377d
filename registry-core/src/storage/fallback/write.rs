//! Changes by [`FallbackStorage`].

use super::{FallbackStorage, expect::Below};
use crate::{
    digest::Digest,
    forward_storage,
    name::RepositoryName,
    reference::{Reference, Tag},
    storage::{
        content::BlobInfo,
        deletion::Deletion,
        error::{Result, StorageError},
        mount::Mount,
        page::Page,
        put::{PutManifest, PutOutcome, TagExpect},
        read::Storage,
        write::StorageWrite,
    },
};
use async_trait::async_trait;
use std::collections::HashMap;

/// Maximum number of times that a manifest's needs are copied: a collection may remove them again before the put.
const COPIES: usize = 3;
/// Number of tags of the lower storage that are read at once.
const PAGE: usize = 1000;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<U: Storage, L: Storage> StorageWrite for FallbackStorage<U, L> {
    forward_storage! {
        StorageWrite: self => self.upper.write();
        except mount, put_manifest, delete_tag, delete_manifest, delete_blob
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let (from, digest) = (mount.from, mount.digest);
        if let Some(mounted) = self.writer()?.mount(to, mount).await? {
            return Ok(Some(mounted));
        }
        if self.lower.blob(from, digest).await?.is_none() {
            return Ok(None);
        }
        match self.upper.blob(to, digest).await? {
            None => self.copy_blob(from, to, digest).await,
            held => Ok(held),
        }
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        let digest = *put.manifest.digest();
        put.tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        let mut below = HashMap::new();
        for moved in &put.tags {
            below.insert(moved.tag.clone(), self.below(repository, &moved.tag).await?);
        }
        let below = |tag: &Tag| below.get(tag).copied().unwrap_or(Below(None));
        let mut refused = None;
        // A storage without conditions refuses each of them.
        if self.upper.abilities().conditional_tags {
            for (index, moved) in put.tags.iter_mut().enumerate() {
                match below(&moved.tag).expect(moved.expect) {
                    Some(expect) => moved.expect = expect,
                    None => {
                        refused = Some((index, moved.tag.clone()));
                        break;
                    }
                }
            }
        }
        if let Some((index, _)) = &refused {
            put.tags.truncate(*index);
        }

        // Nothing after the put may fail the call, because the manifest is stored by then.
        let existing = self.lower.manifest(repository, &digest.into()).await?;
        self.copy_optional(repository, &put).await?;
        let mut outcome = self.put_with_needs(repository, put).await?;
        outcome.created &= existing.is_none();
        for moved in &mut outcome.moved {
            moved.previous = below(&moved.tag).seen(moved.previous);
        }
        outcome.failed = match (outcome.failed, refused) {
            (Some((tag, error)), _) => Some((tag.clone(), below(&tag).conflict(error))),
            (None, Some((_, tag))) => {
                let upper = self.upper.manifest(repository, &Reference::from(&tag)).await;
                let upper = upper.ok().flatten().map(|found| found.digest);
                let conflict = below(&tag).never(tag.clone(), upper);
                Some((tag, conflict))
            }
            (None, None) => None,
        };
        Ok(outcome)
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        if let Below(Some(_)) = self.below(repository, tag).await? {
            return Err(held_below());
        }
        self.writer()?.delete_tag(repository, tag, expect, how).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let below = self.lower.manifest(repository, &digest.into()).await?;
        if below.is_some() || self.has_tag_below(repository, digest).await? {
            return Err(held_below());
        }
        self.writer()?.delete_manifest(repository, digest, how).await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        if self.lower.blob(repository, digest).await?.is_some() {
            return Err(held_below());
        }
        self.writer()?.delete_blob(repository, digest, how).await
    }
}

impl<U: Storage, L: Storage> FallbackStorage<U, L> {
    /// Puts a manifest, and copies what it needs if the upper storage lacks it.
    async fn put_with_needs(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let writer = self.writer()?;
        for _ in 0..COPIES {
            match writer.put_manifest(repository, put.clone()).await {
                Err(StorageError::MissingReferences(missing)) => {
                    self.copy_missing(repository, &missing, &put.needs).await?;
                }
                outcome => return outcome,
            }
        }
        writer.put_manifest(repository, put).await
    }

    async fn below(&self, repository: &RepositoryName, tag: &Tag) -> Result<Below> {
        let found = self.lower.manifest(repository, &Reference::from(tag)).await?;
        Ok(Below(found.map(|found| found.digest)))
    }

    /// Returns true if a tag that points at the manifest in the upper storage exists in the lower one.
    async fn has_tag_below(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        let mut last = None;
        loop {
            let page = Page::first(PAGE).after(last.as_ref());
            let Some(tags) = self.lower.tags(repository, page).await? else {
                return Ok(false);
            };
            for tag in &tags.items {
                let upper = self.upper.manifest(repository, &tag.into()).await?;
                if upper.is_some_and(|upper| upper.digest == *digest) {
                    return Ok(true);
                }
            }
            match tags.items.last() {
                Some(tag) if tags.more => last = Some(tag.clone()),
                _ => return Ok(false),
            }
        }
    }
}

/// Refuses the deletion of something that would still be there.
const fn held_below() -> StorageError {
    StorageError::Unsupported("delete what its lower storage holds")
}
