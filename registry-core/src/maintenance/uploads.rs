//! [`expire_uploads`] and [`expire_empty_uploads`]: expiry of abandoned upload sessions.

use crate::{
    name::RepositoryName,
    storage::{Page, Storage, StorageAdmin, StorageError, UploadState},
};
use std::time::SystemTime;

/// Number of repositories, and of sessions of a repository, listed at once.
const PAGE: usize = 256;

/// Report of [`expire_uploads`] or [`expire_empty_uploads`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredUploads {
    /// Number of sessions that were ended.
    pub expired: u64,
    /// Number of bytes that they held.
    pub bytes: u64,
    /// Number of sessions that are still open, including those of unknown age.
    pub open: u64,
    /// Number of failures with sessions and repositories. The log has the reasons.
    pub failed: u64,
}

/// Ends every upload session without an append since `idle_since`. Afterwards the session is unknown.
///
/// A session that a client resumes meanwhile stays, because each session is compared and ended in one step. A
/// failure with one session or repository is reported and does not affect the others. Dropping the future
/// stops between two sessions.
///
/// ```
/// use registry_core::{maintenance::expire_uploads, storage::MemoryStorage};
/// use std::time::{Duration, SystemTime};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let storage = MemoryStorage::new();
/// let week = Duration::from_secs(7 * 24 * 60 * 60);
/// let report = expire_uploads(&storage, SystemTime::now() - week).await?;
/// assert_eq!(report.expired, 0);
/// # Ok::<(), registry_core::storage::StorageError>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage has no plane for maintenance.
/// - [`StorageError::ReadOnly`] if there is a session to end and the handle is read-only.
/// - Any other error if the repositories cannot be listed.
pub async fn expire_uploads(
    storage: &dyn Storage,
    idle_since: SystemTime,
) -> Result<ExpiredUploads, StorageError> {
    expire_if(storage, &|session| is_idle(session, idle_since)).await
}

/// Ends only sessions without any byte, like [`expire_uploads`]. No client loses data, so these sessions may
/// expire far sooner.
///
/// Otherwise a client that may push could open sessions up to [`Limits::uploads`](crate::Limits::uploads),
/// and prevent all pushes until the sessions expire. A session that is receiving a body stays.
///
/// # Errors
///
/// The same as for [`expire_uploads`].
pub async fn expire_empty_uploads(
    storage: &dyn Storage,
    idle_since: SystemTime,
) -> Result<ExpiredUploads, StorageError> {
    expire_if(storage, &|session| {
        session.offset == 0 && is_idle(session, idle_since)
    })
    .await
}

fn is_idle(session: &UploadState, since: SystemTime) -> bool {
    session.touched.is_some_and(|touched| touched < since)
}

async fn expire_if(
    storage: &dyn Storage,
    is_abandoned: &(dyn Fn(&UploadState) -> bool + Sync),
) -> Result<ExpiredUploads, StorageError> {
    let admin = storage
        .admin()
        .ok_or(StorageError::Unsupported("expire upload sessions"))?;
    let mut report = ExpiredUploads::default();
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page {
            after: after.as_ref(),
            limit: PAGE,
        };
        let listed = admin.uploading(page).await?;
        for repository in &listed.items {
            match in_repository(admin, repository, is_abandoned, &mut report).await {
                Ok(()) => {}
                Err(StorageError::ReadOnly) => return Err(StorageError::ReadOnly),
                Err(error) => {
                    tracing::warn!(%repository, %error, "cannot list the upload sessions of a repository");
                    report.failed += 1;
                }
            }
        }
        after = listed.items.into_iter().next_back();
        if !listed.more {
            return Ok(report);
        }
    }
}

async fn in_repository(
    admin: &dyn StorageAdmin,
    repository: &RepositoryName,
    is_abandoned: &(dyn Fn(&UploadState) -> bool + Sync),
    report: &mut ExpiredUploads,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = Page {
            after: after.as_ref(),
            limit: PAGE,
        };
        let listed = admin.uploads(repository, page).await?;
        for session in &listed.items {
            if !is_abandoned(session) {
                report.open += 1;
                continue;
            }
            expire(admin, repository, session, report).await?;
        }
        after = listed.items.last().map(|last| last.id);
        if !listed.more {
            return Ok(());
        }
    }
}

async fn expire(
    admin: &dyn StorageAdmin,
    repository: &RepositoryName,
    session: &UploadState,
    report: &mut ExpiredUploads,
) -> Result<(), StorageError> {
    let UploadState { id, offset, .. } = session;
    match admin.expire_upload(repository, session).await {
        Ok(true) => {
            tracing::info!(%repository, %id, bytes = offset, "an abandoned upload session has expired");
            report.expired += 1;
            report.bytes += offset;
        }
        // A client was quicker: to go on with it, or to end it.
        Ok(false) => report.open += 1,
        // So it is for all of them.
        Err(StorageError::ReadOnly) => return Err(StorageError::ReadOnly),
        Err(error) => {
            tracing::warn!(%repository, %id, %error, "cannot end an abandoned upload session");
            report.failed += 1;
        }
    }
    Ok(())
}
