//! [`expire_histories`]: expiry of the histories of deleted tags.

use super::repositories::RepositoryPages;
use crate::{
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError, StorageTrash},
};
use std::time::SystemTime;

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;
/// Number of tags of a repository that are listed at once. A storage may look at all tags for each page.
const TAGS_PAGE: usize = 100_000;

/// Report of [`expire_histories`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredHistories {
    /// Number of histories that were removed.
    pub expired: u64,
    /// Number of failures with tags and repositories. The log has the reasons.
    pub failed: u64,
}

/// Removes the histories of tags that do not exist, if their last event is before `ended_before`. Otherwise a repository
/// with ever new tags, as of builds, would have ever more histories.
///
/// A failure with one tag or repository is reported and does not affect the others.
///
/// ```
/// use registry_core::{maintenance::expire_histories, storage::MemoryStorage};
/// use std::time::{Duration, SystemTime};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let storage = MemoryStorage::new();
/// let week = Duration::from_secs(7 * 24 * 60 * 60);
/// let report = expire_histories(&storage, SystemTime::now() - week).await?;
/// assert_eq!(report.expired, 0);
/// # Ok::<(), registry_core::storage::StorageError>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// Safe: a dropped call stops between two histories.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage keeps no histories.
/// - Any other error if the repositories cannot be listed.
pub async fn expire_histories(
    storage: &dyn Storage,
    ended_before: SystemTime,
) -> Result<ExpiredHistories, StorageError> {
    let trash = storage
        .trash()
        .ok_or(StorageError::Unsupported("keep histories of tags"))?;
    let mut report = ExpiredHistories::default();
    let mut repositories = RepositoryPages::of(PAGE);
    while let Some(page) = repositories.page() {
        let listed = trash.with_histories(page).await?;
        repositories.listed(&listed);
        for repository in &listed.items {
            let expired = match repository {
                Seen::Whole(repository) => expire_in(trash, repository, ended_before, &mut report).await,
                Seen::Unreadable { reason, .. } => Err(StorageError::internal(reason.clone())),
            };
            if let Err(error) = expired {
                let repository = repository.key();
                tracing::warn!(%repository, %error, "cannot list the histories of the tags in a repository");
                report.failed += 1;
            }
        }
    }
    Ok(report)
}

/// Removes the histories of the deleted tags of a repository.
async fn expire_in(
    trash: &dyn StorageTrash,
    repository: &RepositoryName,
    ended_before: SystemTime,
    report: &mut ExpiredHistories,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = Page::first(TAGS_PAGE).after(after.as_ref());
        let listed = trash.with_history(repository, page).await?;
        for tag in &listed.items {
            match trash.forget_history(repository, tag, ended_before).await {
                Ok(removed) => report.expired += u64::from(removed),
                Err(error) => {
                    tracing::warn!(%repository, %tag, %error, "cannot remove the history of a deleted tag");
                    report.failed += 1;
                }
            }
        }
        after = listed.items.last().cloned();
        if !listed.more {
            return Ok(());
        }
    }
}
