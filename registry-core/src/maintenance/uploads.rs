//! [`expire_uploads`] and [`expire_empty_uploads`]: expiry of abandoned upload sessions.

use crate::{
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError, StorageExpire, StorageInspect, UploadState},
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
/// - [`StorageError::Unsupported`] if the storage cannot be inspected, or expires no sessions: a read-only one
///   does not.
/// - Any other error if the repositories cannot be listed.
pub async fn expire_uploads(
    storage: &dyn Storage,
    idle_since: SystemTime,
) -> Result<ExpiredUploads, StorageError> {
    expire_uploads_telling(storage, idle_since, &|_, _| {}).await
}

/// Ends sessions as [`expire_uploads`] does, and tells each of them to `told`.
pub(super) async fn expire_uploads_telling(
    storage: &dyn Storage,
    idle_since: SystemTime,
    told: Told<'_>,
) -> Result<ExpiredUploads, StorageError> {
    expire_if(storage, &|session| is_idle(session, idle_since), told).await
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
    expire_empty_uploads_telling(storage, idle_since, &|_, _| {}).await
}

/// Ends sessions as [`expire_empty_uploads`] does, and tells each of them to `told`.
pub(super) async fn expire_empty_uploads_telling(
    storage: &dyn Storage,
    idle_since: SystemTime,
    told: Told<'_>,
) -> Result<ExpiredUploads, StorageError> {
    let is_abandoned = |session: &UploadState| session.offset == 0 && is_idle(session, idle_since);
    expire_if(storage, &is_abandoned, told).await
}

fn is_idle(session: &UploadState, since: SystemTime) -> bool {
    session.touched.is_some_and(|touched| touched < since)
}

async fn expire_if(
    storage: &dyn Storage,
    is_abandoned: &(dyn Fn(&UploadState) -> bool + Sync),
    told: Told<'_>,
) -> Result<ExpiredUploads, StorageError> {
    let (Some(inspect), Some(expire)) = (storage.inspect(), storage.expire()) else {
        return Err(StorageError::Unsupported("expire upload sessions"));
    };
    let planes = Planes {
        inspect,
        expire,
        told,
    };
    let mut report = ExpiredUploads::default();
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page {
            after: after.as_ref(),
            limit: PAGE,
        };
        let listed = inspect.uploading(page).await?;
        for repository in &listed.items {
            let ended = match repository {
                Seen::Whole(repository) => planes.expire_in(repository, is_abandoned, &mut report).await,
                Seen::Unreadable { reason, .. } => Err(StorageError::internal(reason.clone())),
            };
            if let Err(error) = ended {
                let repository = repository.key();
                tracing::warn!(%repository, %error, "cannot list the upload sessions of a repository");
                report.failed += 1;
            }
        }
        after = listed.items.last().map(|last| last.key().clone());
        if !listed.more {
            return Ok(report);
        }
    }
}

/// Function that is called with each session that was ended.
pub(super) type Told<'a> = &'a (dyn Fn(&RepositoryName, &UploadState) + Sync);

/// Planes of a storage that expiry needs, and who is told.
#[derive(Clone, Copy)]
struct Planes<'a> {
    inspect: &'a dyn StorageInspect,
    expire: &'a dyn StorageExpire,
    told: Told<'a>,
}

impl Planes<'_> {
    async fn expire_in(
        self,
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
            let listed = self.inspect.uploads(repository, page).await?;
            for session in &listed.items {
                match session {
                    Seen::Whole(session) if is_abandoned(session) => {
                        self.expire(repository, session, report).await;
                    }
                    Seen::Whole(_) => report.open += 1,
                    Seen::Unreadable { key: id, reason } => {
                        tracing::warn!(%repository, %id, error = reason, "cannot read an upload session");
                        report.failed += 1;
                    }
                }
            }
            after = listed.items.last().map(|last| match last {
                Seen::Whole(session) => session.id,
                Seen::Unreadable { key, .. } => *key,
            });
            if !listed.more {
                return Ok(());
            }
        }
    }

    async fn expire(self, repository: &RepositoryName, session: &UploadState, report: &mut ExpiredUploads) {
        let UploadState { id, offset, .. } = session;
        match self.expire.expire_upload(repository, session).await {
            Ok(true) => {
                tracing::info!(%repository, %id, bytes = offset, "an abandoned upload session has expired");
                report.expired += 1;
                report.bytes += offset;
                (self.told)(repository, session);
            }
            // A client was quicker: to go on with it, or to end it.
            Ok(false) => report.open += 1,
            Err(error) => {
                tracing::warn!(%repository, %id, %error, "cannot end an abandoned upload session");
                report.failed += 1;
            }
        }
    }
}
