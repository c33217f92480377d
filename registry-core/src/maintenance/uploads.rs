//! [`expire_uploads`] and [`expire_empty_uploads`]: expiry of abandoned upload sessions.

use super::scan::{Ending, ExpiredUploads, Scan};
use crate::storage::{Storage, StorageError, UploadState};
use std::time::SystemTime;

/// Ends every upload session without an append since `idle_since`. Afterwards the session is unknown.
///
/// A session that a client resumes meanwhile stays, because each session is compared and ended in one step. A
/// failure with one session or repository is reported and does not affect the others.
///
/// A registry counts the ended sessions until its [`Upkeep`](super::Upkeep) or
/// [`reconcile_uploads`](super::reconcile_uploads) has compared its ledger with the storage.
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
/// # Cancel safety
///
/// Safe: a dropped call stops between two sessions.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage cannot be inspected, or expires no sessions: a read-only one
///   does not.
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
/// # Cancel safety
///
/// Safe: a dropped call stops between two sessions.
///
/// # Errors
///
/// The same as for [`expire_uploads`].
pub async fn expire_empty_uploads(
    storage: &dyn Storage,
    idle_since: SystemTime,
) -> Result<ExpiredUploads, StorageError> {
    expire_if(storage, &|session| is_idle_and_empty(session, idle_since)).await
}

pub(super) fn is_idle_and_empty(session: &UploadState, since: SystemTime) -> bool {
    session.offset == 0 && is_idle(session, since)
}

pub(super) fn is_idle(session: &UploadState, since: SystemTime) -> bool {
    session.touched.is_some_and(|touched| touched < since)
}

async fn expire_if(
    storage: &dyn Storage,
    is_abandoned: &(dyn Fn(&UploadState) -> bool + Send + Sync),
) -> Result<ExpiredUploads, StorageError> {
    let (Some(inspect), Some(expire)) = (storage.inspect(), storage.expire()) else {
        return Err(StorageError::Unsupported("expire upload sessions"));
    };
    let ending = Ending {
        expire,
        is_abandoned,
        told: &|_, _| {},
    };
    Scan::of(inspect).ending(Some(ending)).run().await
}
