//! Restoring what was deleted: a manifest with everything that it needs, and its tags.

mod deletions;
mod outcome;
mod plan;
mod referrers;

pub use self::{
    deletions::Deletions,
    outcome::{NotRestored, RestoreError, Restored},
};

use self::{
    plan::{Plan, Records},
    referrers::Referrer,
};
use super::{ManifestPush, Repository};
use crate::{
    digest::{AnyDigest, Digest},
    error::Error,
    manifest::Manifest,
    reference::{Reference, Tag},
    storage::{Document, Need, Page, Seen, StorageError, StorageTrash, StoredManifest, TrashId, Trashed},
};
use std::collections::HashSet;

/// Number of records that are read at once.
const PAGE: usize = 256;
/// Maximum number of tags in a line of the log.
const LOGGED_TAGS: usize = 10;

/// Deletion to undo, for [`Repository::restore`].
///
/// ```
/// use registry_core::{Tag, service::Restore};
///
/// // Restore what the tag `v1` pointed at, under another tag.
/// let restore = Restore::new(Tag::parse("v1")?).under(Some(Tag::parse("v1-restored")?));
/// # let _ = restore;
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, Debug)]
pub struct Restore {
    what: What,
    under: Option<Tag>,
}

#[derive(Clone, Debug)]
enum What {
    /// The newest deletion of a tag, or of a manifest or a tag that pointed at it.
    Reference(Reference),
    Record(TrashId),
}

impl Restore {
    /// Selects the newest deletion of a tag, or of a manifest with its tags.
    #[must_use]
    pub fn new(reference: impl Into<Reference>) -> Self {
        Self {
            what: What::Reference(reference.into()),
            under: None,
        }
    }

    /// Selects a deletion by its record.
    #[must_use]
    pub const fn record(id: TrashId) -> Self {
        Self {
            what: What::Record(id),
            under: None,
        }
    }

    /// Restores the manifest under this tag instead of the tags that were deleted.
    #[must_use]
    pub fn under(self, tag: Option<Tag>) -> Self {
        Self { under: tag, ..self }
    }

    fn selects(&self, record: &Trashed) -> bool {
        match &self.what {
            What::Record(id) => record.id == *id,
            What::Reference(Reference::Digest(digest)) => record.digest == *digest,
            What::Reference(Reference::Tag(tag)) => record.tags.contains(tag),
        }
    }

    /// Returns true if this record would be selected in place of `record`, if it is of the same tag or manifest.
    fn may_select(&self, id: TrashId, record: &Trashed) -> bool {
        matches!(self.what, What::Reference(_)) && id > record.id
    }

    /// Returns the tags to restore.
    fn tags(&self, record: &Trashed) -> Vec<Tag> {
        match (&self.under, &self.what) {
            (Some(tag), _) | (None, What::Reference(Reference::Tag(tag))) => vec![tag.clone()],
            (None, _) => record.tags.clone(),
        }
    }

    fn is_unknown(&self) -> RestoreError {
        let what = match &self.what {
            What::Reference(reference) => reference.to_string(),
            What::Record(id) => id.to_string(),
        };
        RestoreError::NotDeleted { what }
    }
}

/// Returns the tags that a line of the log names. Clients decide how many there are.
fn first_of(tags: &[Tag]) -> &[Tag] {
    tags.get(..LOGGED_TAGS).unwrap_or(tags)
}

/// Manifest that exists or can be restored.
struct Found {
    manifest: StoredManifest,
    /// True if the repository has the manifest.
    exists: bool,
}

/// Step of the walk through everything that a manifest needs.
enum Step {
    /// Looks at a manifest. If it is not `needed`, it may be gone.
    Visit { digest: Digest, needed: bool },
    /// Puts a manifest, after everything below it.
    Put(Digest),
}

impl Repository {
    /// Restores a manifest that was deleted, with everything that it needs, and its tags. Or it restores a tag alone.
    /// Referrers that were deleted with the manifest, such as signatures, are restored, too: those that were deleted after
    /// it, by a collection for example. One that cannot be restored does not prevent the restore: the result names it.
    ///
    /// Each manifest is put like any other, children before their parents, with hooks and events. All content is
    /// looked for before the first one is put. If it fails after that, the tags are not restored, the records stay, and a
    /// repetition continues. A record is forgotten once everything in it is restored.
    ///
    /// ```
    /// use registry_core::{
    ///     Registry, Tag,
    ///     service::{ManifestPush, Restore},
    ///     storage::MemoryStorage,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    /// let pushed = repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
    /// repository.delete_manifest(pushed.digest).await?;
    ///
    /// let restored = repository.restore(Restore::new(Tag::parse("v1")?)).await?;
    ///
    /// assert_eq!(restored.digest, pushed.digest);
    /// assert!(repository.manifest("v1").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have put some of the manifests. The tags are moved last, and the record stays until then,
    /// so that a repetition continues.
    ///
    /// # Errors
    ///
    /// - [`RestoreError::NotDeleted`] if there is no such record.
    /// - [`RestoreError::TagMoved`] if one of the tags points elsewhere now.
    /// - [`RestoreError::Gone`] with everything that is missing.
    /// - [`RestoreError::Refused`] if the caller may not push, a hook refuses, the storage keeps no records, or fails.
    pub async fn restore(&self, restore: Restore) -> Result<Restored, RestoreError> {
        self.require_push().await?;
        self.write()?;
        let trash = self.trash()?;
        let mut records = self.records(trash, &restore).await?;
        let Some(record) = records.selected.take() else {
            return Err(match records.unreadable {
                Some((_, reason)) => StorageError::internal(reason).into(),
                None => restore.is_unknown(),
            });
        };
        let tags = restore.tags(&record);
        self.require_unmoved(&record, &tags).await?;
        let mut visited = HashSet::new();
        let mut plan = Plan::default();
        self.plan(trash, &records, record.digest, &mut plan, &mut visited)
            .await?;
        if !plan.gone.is_empty() {
            return Err(RestoreError::Gone(plan.gone));
        }
        let mut left = Vec::new();
        let referrers = self.plan_referrers(trash, &records, record.digest, &plan, &mut visited, &mut left);
        // Those before the root are put before its tags, so that a repetition continues.
        let (after, before): (Vec<_>, Vec<_>) =
            referrers.await?.into_iter().partition(Referrer::follows_root);
        let mut manifests = Vec::new();
        let (root, below) = plan.manifests.split_last().ok_or_else(|| restore.is_unknown())?;
        for digest in below {
            self.put_again(trash, &records, digest, &[]).await?;
            manifests.push(*digest);
        }
        self.put_referrers(trash, &records, &before, &mut manifests, &mut left)
            .await;
        self.put_again(trash, &records, root, &tags).await?;
        manifests.push(*root);
        self.put_referrers(trash, &records, &after, &mut manifests, &mut left)
            .await;
        tracing::info!(
            repository = %self.name, digest = %record.digest, tag_count = tags.len(), tags = ?first_of(&tags),
            manifests = manifests.len(), left = left.len(),
            "a deletion was undone"
        );
        self.forget_restored(trash, &records, &record, &manifests).await;
        let unreadable = records
            .unreadable
            .filter(|(id, _)| restore.may_select(*id, &record));
        Ok(Restored {
            digest: record.digest,
            tags,
            manifests,
            left,
            unreadable: unreadable.map(|(_, reason)| reason),
        })
    }

    /// Fails if one of the tags points elsewhere than a record says.
    async fn require_unmoved(&self, record: &Trashed, tags: &[Tag]) -> Result<(), RestoreError> {
        for tag in tags {
            match self.target(tag).await? {
                Some(target) if target != record.digest => {
                    return Err(RestoreError::TagMoved {
                        tag: tag.clone(),
                        target,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn records(&self, trash: &dyn StorageTrash, restore: &Restore) -> Result<Records, RestoreError> {
        let mut records = Records::default();
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = trash.deleted(&self.name, page).await?;
            for item in listed.items {
                match item {
                    Seen::Whole(record) => {
                        after = Some(record.id);
                        records.add(&record);
                        if restore.selects(&record) {
                            records.selected = Some(record);
                        }
                    }
                    Seen::Unreadable { key, reason } => {
                        after = Some(key);
                        records.unreadable = Some((key, reason));
                    }
                }
            }
            if !listed.more {
                return Ok(records);
            }
        }
    }

    /// Finds a manifest in the repository, or else in the trash.
    async fn find_deleted(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        digest: &Digest,
    ) -> Result<Option<Found>, RestoreError> {
        let reference = Reference::Digest(*digest);
        if let Some(manifest) = self.storage().manifest(&self.name, &reference).await? {
            return Ok(Some(Found {
                manifest,
                exists: true,
            }));
        }
        let Some((id, _)) = records.manifests.get(digest) else {
            return Ok(None);
        };
        Ok(match trash.deleted_document(&self.name, id).await? {
            Document::Whole(manifest) => Some(Found {
                manifest,
                exists: false,
            }),
            Document::Damaged(_) | Document::Lost => None,
        })
    }

    /// Looks for everything that a manifest needs, without what was `visited` before. One document at a time is in
    /// memory.
    async fn plan(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        root: Digest,
        plan: &mut Plan,
        visited: &mut HashSet<Digest>,
    ) -> Result<(), RestoreError> {
        let mut steps = vec![Step::Visit {
            digest: root,
            needed: true,
        }];
        while let Some(step) = steps.pop() {
            let (digest, needed) = match step {
                Step::Put(digest) => {
                    plan.manifests.push(digest);
                    continue;
                }
                Step::Visit { digest, .. } if visited.contains(&digest) => {
                    plan.planned.insert(digest);
                    continue;
                }
                Step::Visit { digest, needed } => (digest, needed),
            };
            let Some(found) = self.find_deleted(trash, records, &digest).await? else {
                if needed {
                    // A record that cannot be read may be the one of this manifest.
                    if let Some((_, reason)) = &records.unreadable {
                        return Err(StorageError::internal(reason.clone()).into());
                    }
                    plan.visit(digest, visited);
                    plan.gone.push(digest.into());
                }
                continue;
            };
            plan.visit(digest, visited);
            if !found.exists {
                plan.absent.push(digest);
            }
            // The root is put in any case, because that moves the tags.
            if !found.exists || digest == root {
                steps.push(Step::Put(digest));
            }
            let manifest = Manifest::parse_stored(&found.manifest.bytes, &found.manifest.media_type);
            let manifest = manifest.map_err(Error::from)?;
            self.visit_below(&manifest, &mut steps, plan).await?;
        }
        Ok(())
    }

    /// Looks for the blobs of a manifest, and plans visits of its children.
    async fn visit_below(
        &self,
        manifest: &Manifest,
        steps: &mut Vec<Step>,
        plan: &mut Plan,
    ) -> Result<(), RestoreError> {
        let needs = match self.needs(manifest) {
            Err(Error::MissingReferences(foreign)) => {
                plan.gone.extend(foreign);
                Vec::new()
            }
            needs => needs?,
        };
        let children = manifest.manifests().iter();
        steps.extend(children.filter_map(|child| match child.digest {
            AnyDigest::Known(digest) => Some(Step::Visit {
                digest,
                needed: false,
            }),
            AnyDigest::Foreign(_) => None,
        }));
        for needed in needs {
            let is_blob =
                needed.need.admits_blob() && self.storage().blob(&self.name, &needed.digest).await?.is_some();
            match needed.need {
                _ if is_blob => {}
                Need::Blob => plan.gone.push(needed.digest.into()),
                Need::Manifest | Need::Either => steps.push(Step::Visit {
                    digest: needed.digest,
                    needed: true,
                }),
            }
        }
        Ok(())
    }

    /// Puts a manifest, whose tags may be absent or point at it already.
    async fn put_again(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<(), RestoreError> {
        let Some(Found { manifest, .. }) = self.find_deleted(trash, records, digest).await? else {
            return Err(RestoreError::Gone(vec![(*digest).into()]));
        };
        let reference = Reference::Digest(*digest);
        let limit = self.registry.inner.limits.tags_per_put.max(1);
        let rounds = tags.len().div_ceil(limit).max(1);
        for round in 0..rounds {
            let tags = tags
                .iter()
                .skip(round * limit)
                .take(limit)
                .cloned()
                .collect::<Vec<_>>();
            let permits = self.permit_put(&reference, &tags).await?;
            let mut push = ManifestPush::new(reference.clone(), manifest.bytes.clone());
            push.media_type = Some(manifest.media_type.clone());
            push.restores = true;
            let permits = permits.into_iter().map(|permit| permit.without_overwrite());
            match self.put_permitted(push, permits.collect()).await {
                Ok(_) => {}
                Err(Error::Overwrite { tag }) => {
                    return Err(match self.target(&tag).await? {
                        Some(target) => RestoreError::TagMoved { tag, target },
                        None => Error::Overwrite { tag }.into(),
                    });
                }
                Err(Error::MissingReferences(gone) | Error::MissingEntries(gone)) => {
                    return Err(RestoreError::Gone(gone));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Forgets the records of which everything is restored. A record that stays expires later.
    async fn forget_restored(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        record: &Trashed,
        manifests: &[Digest],
    ) {
        let children = manifests.iter().filter(|digest| **digest != record.digest);
        let mut restored: Vec<TrashId> = children
            .filter_map(|digest| records.manifests.get(digest))
            .filter_map(|(id, has_tags)| (!has_tags).then_some(*id))
            .collect();
        let mut all_tags = true;
        for tag in &record.tags {
            let target = self.target(tag).await;
            all_tags &= target.is_ok_and(|target| target == Some(record.digest));
        }
        if all_tags {
            restored.push(record.id);
        }
        for id in restored {
            if let Err(error) = trash.forget(&self.name, &id).await {
                tracing::warn!(repository = %self.name, %id, %error, "cannot remove the record of a deletion that was undone");
            }
        }
    }
}
