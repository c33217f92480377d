//! [`expire_trash`]: expiry of the records of deletions.

use super::repositories::RepositoryPages;
use crate::{
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError, StorageTrash, TrashId},
};
use std::time::SystemTime;

/// Number of repositories, and of records of a repository, listed at once.
const PAGE: usize = 256;

/// Report of [`expire_trash`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredTrash {
    /// Number of records that were removed.
    pub expired: u64,
    /// Number of failures with records and repositories. The log has the reasons.
    pub failed: u64,
}

/// Removes the records of deletions before `deleted_before`, which cannot be undone then. No content is removed: a
/// garbage collection frees what nothing else refers to.
///
/// A failure with one record or repository is reported and does not affect the others.
///
/// ```
/// use registry_core::{maintenance::expire_trash, storage::MemoryStorage};
/// use std::time::{Duration, SystemTime};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let storage = MemoryStorage::new();
/// let week = Duration::from_secs(7 * 24 * 60 * 60);
/// let report = expire_trash(&storage, SystemTime::now() - week).await?;
/// assert_eq!(report.expired, 0);
/// # Ok::<(), registry_core::storage::StorageError>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// Safe: a dropped call stops between two records.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage keeps no records.
/// - Any other error if the repositories cannot be listed.
pub async fn expire_trash(
    storage: &dyn Storage,
    deleted_before: SystemTime,
) -> Result<ExpiredTrash, StorageError> {
    let trash = storage
        .trash()
        .ok_or(StorageError::Unsupported("keep records of deletions"))?;
    let end = TrashId::at(deleted_before);
    let mut report = ExpiredTrash::default();
    let mut repositories = RepositoryPages::of(PAGE);
    while let Some(page) = repositories.page() {
        let listed = trash.with_deleted(page).await?;
        repositories.listed(&listed);
        for repository in &listed.items {
            let expired = match repository {
                Seen::Whole(repository) => expire_records(trash, repository, end, &mut report).await,
                Seen::Unreadable { reason, .. } => Err(StorageError::internal(reason.clone())),
            };
            if let Err(error) = expired {
                let repository = repository.key();
                tracing::warn!(%repository, %error, "cannot list the records of deletions in a repository");
                report.failed += 1;
            }
        }
    }
    Ok(report)
}

/// Removes the records of a repository before `end`. They are the first ones, because ids sort by time.
async fn expire_records(
    trash: &dyn StorageTrash,
    repository: &RepositoryName,
    end: TrashId,
    report: &mut ExpiredTrash,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = trash.deleted(repository, page).await?;
        for record in &listed.items {
            let id = match record {
                Seen::Whole(record) => record.id,
                Seen::Unreadable { key, .. } => *key,
            };
            if id >= end {
                return Ok(());
            }
            match trash.forget(repository, &id).await {
                Ok(removed) => report.expired += u64::from(removed),
                Err(error) => {
                    tracing::warn!(%repository, %id, %error, "cannot remove the record of a deletion");
                    report.failed += 1;
                }
            }
            after = Some(id);
        }
        if !listed.more {
            return Ok(());
        }
    }
}
