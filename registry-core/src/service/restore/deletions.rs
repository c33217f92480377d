//! [`Deletions`]: all deletions in a repository, undone one by one.

use super::{
    PAGE, first_of,
    outcome::{RestoreError, Restored},
    plan::{Plan, Records},
};
use crate::{
    error::Error,
    service::Repository,
    storage::{Page, Seen, StorageTrash, TrashId, Trashed},
};
use std::{collections::HashSet, time::SystemTime};

/// Deletions in a repository that can be undone, from [`Repository::deletions`].
#[derive(Debug)]
pub struct Deletions<'a> {
    repository: &'a Repository,
    records: Records,
    /// The records to undo, the oldest first.
    left: Vec<Trashed>,
    unreadable: Vec<(TrashId, String)>,
}

impl Repository {
    /// Lists what was deleted in the repository at a time or later, to restore it. `None` lists everything that can be
    /// restored.
    ///
    /// ```
    /// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// for (tag, note) in [("v1", "1"), ("v2", "2")] {
    ///     let index = format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"note":"{note}"}}}}"#);
    ///     let pushed = repository.put_manifest(ManifestPush::new(Tag::parse(tag)?, index)).await?;
    ///     repository.delete_manifest(pushed.digest).await?;
    /// }
    ///
    /// let mut deletions = repository.deletions(None).await?;
    /// while let Some((_, restored)) = deletions.restore_next().await {
    ///     restored?;
    /// }
    ///
    /// assert!(repository.manifest("v1").await?.is_some());
    /// assert!(repository.manifest("v2").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Refused`] if the caller may not push, or the storage keeps no records, or fails.
    pub async fn deletions(&self, since: Option<SystemTime>) -> Result<Deletions<'_>, RestoreError> {
        self.require_push().await?;
        self.write()?;
        let trash = self.trash()?;
        let mut deletions = Deletions {
            repository: self,
            records: Records::default(),
            left: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut after = None;
        loop {
            let listed = trash
                .deleted(self.name(), Page::first(PAGE).after(after.as_ref()))
                .await?;
            for item in listed.items {
                let id = match &item {
                    Seen::Whole(record) => record.id,
                    Seen::Unreadable { key, .. } => *key,
                };
                after = Some(id);
                let is_meant = since.is_none_or(|since| id.time() >= since);
                match item {
                    Seen::Whole(record) => {
                        deletions.records.add(&record);
                        deletions.left.extend(is_meant.then_some(record));
                    }
                    Seen::Unreadable { key, reason } => {
                        deletions.records.unreadable = Some((key, reason.clone()));
                        deletions.unreadable.extend(is_meant.then_some((key, reason)));
                    }
                }
            }
            if !listed.more {
                return Ok(deletions);
            }
        }
    }

    pub(super) fn trash(&self) -> Result<&dyn StorageTrash, Error> {
        let trash = self.storage().trash();
        trash.ok_or(Error::Unsupported("restore what was deleted"))
    }
}

impl Deletions<'_> {
    /// Returns the records that cannot be read, with the reasons.
    #[must_use]
    pub fn unreadable(&self) -> &[(TrashId, String)] {
        &self.unreadable
    }

    /// Undoes the newest deletion that is left. Returns its record and the outcome; `None` after the last one.
    ///
    /// The later of two deletions of a tag decides where the tag points: it is undone first, and the other one fails with
    /// [`RestoreError::TagMoved`]. A failure does not prevent the next ones.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have undone its deletion in part. The next call goes on with the next deletion:
    /// [`deletions`](Repository::deletions) lists those that are left.
    pub async fn restore_next(&mut self) -> Option<(Trashed, Result<Restored, RestoreError>)> {
        let record = self.left.pop()?;
        let restored = self.restore(&record).await;
        Some((record, restored))
    }

    async fn restore(&self, record: &Trashed) -> Result<Restored, RestoreError> {
        let Self {
            repository, records, ..
        } = self;
        let trash = repository.trash()?;
        repository.require_unmoved(record, &record.tags).await?;
        let (mut plan, mut visited) = (Plan::default(), HashSet::new());
        repository
            .plan(trash, records, record.digest, &mut plan, &mut visited)
            .await?;
        if !plan.gone.is_empty() {
            return Err(RestoreError::Gone(plan.gone));
        }
        for digest in &plan.manifests {
            let tags = if *digest == record.digest {
                &*record.tags
            } else {
                &[]
            };
            repository.put_again(trash, records, digest, tags).await?;
        }
        tracing::info!(
            repository = %repository.name(), digest = %record.digest, tag_count = record.tags.len(),
            tags = ?first_of(&record.tags), manifests = plan.manifests.len(),
            "a deletion was undone"
        );
        repository.forget_restored(trash, records, record, &[]).await;
        Ok(Restored {
            digest: record.digest,
            tags: record.tags.clone(),
            manifests: plan.manifests,
            left: Vec::new(),
            unreadable: None,
        })
    }
}
