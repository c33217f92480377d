//! [`Scan`]: one pass over all open upload sessions of a storage.

use super::repositories::RepositoryPages;
use crate::{
    ledger::Walk,
    name::RepositoryName,
    storage::{Listing, Page, Seen, StorageError, StorageExpire, StorageInspect, UploadState, Uploader},
    upload_id::UploadId,
};

/// Number of repositories, and of sessions of a repository, listed at once.
const PAGE: usize = 256;

/// Report of [`expire_uploads`](super::expire_uploads) or [`expire_empty_uploads`](super::expire_empty_uploads).
///
/// ```
/// use registry_core::{Algorithm, Registry, maintenance::expire_empty_uploads, storage::MemoryStorage};
/// use std::time::{Duration, SystemTime};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// registry.repository("team/app")?.open_upload(Algorithm::Sha256).await?;
///
/// // As seen an hour later:
/// let report = expire_empty_uploads(&storage, SystemTime::now() + Duration::from_secs(3600)).await?;
/// assert_eq!((report.expired, report.open), (1, 0));
/// # Ok(())
/// # }
/// ```
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

/// Function that is called with each session that was ended.
pub(super) type Told<'a> = &'a (dyn Fn(&RepositoryName, &UploadState) + Send + Sync);

/// Sessions that a scan ends.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) expire: &'a dyn StorageExpire,
    pub(super) is_abandoned: &'a (dyn Fn(&UploadState) -> bool + Send + Sync),
    pub(super) told: Told<'a>,
}

/// One pass over all open sessions, which compares them with a ledger, ends the abandoned ones, or both.
pub(super) struct Scan<'a> {
    inspect: &'a dyn StorageInspect,
    walk: Option<Walk>,
    ending: Option<Ending<'a>>,
    report: ExpiredUploads,
}

impl<'a> Scan<'a> {
    pub(super) fn of(inspect: &'a dyn StorageInspect) -> Self {
        Self {
            inspect,
            walk: None,
            ending: None,
            report: ExpiredUploads::default(),
        }
    }

    /// Compares the sessions with the ledger of this walk.
    pub(super) fn counting(self, walk: Walk) -> Self {
        Self {
            walk: Some(walk),
            ..self
        }
    }

    /// Ends abandoned sessions.
    pub(super) fn ending(self, ending: Option<Ending<'a>>) -> Self {
        Self { ending, ..self }
    }

    /// Runs to the end. A failure with one session or repository does not affect the others.
    pub(super) async fn run(mut self) -> Result<ExpiredUploads, StorageError> {
        let mut repositories = RepositoryPages::of(PAGE);
        while let Some(page) = repositories.page() {
            let listed = self.inspect.uploading(page).await?;
            repositories.listed(&listed);
            for repository in &listed.items {
                let scanned = match repository {
                    Seen::Whole(repository) => self.scan_repository(repository).await,
                    Seen::Unreadable { reason, .. } => Err(StorageError::internal(reason.clone())),
                };
                if let Err(error) = scanned {
                    let repository = repository.key();
                    tracing::warn!(%repository, %error, "cannot list the upload sessions of a repository");
                    self.report.failed += 1;
                    if let Some(walk) = &self.walk {
                        walk.keep(repository);
                    }
                }
            }
        }
        if let Some(walk) = self.walk {
            walk.finish();
        }
        Ok(self.report)
    }

    async fn scan_repository(&mut self, repository: &RepositoryName) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.list(repository, page).await?;
            for session in &listed.items {
                match session {
                    Seen::Whole(session) => self.end(repository, session).await,
                    Seen::Unreadable { key: id, reason } => {
                        tracing::warn!(%repository, %id, error = reason, "cannot read an upload session");
                        self.report.failed += 1;
                    }
                }
            }
            after = listed.items.last().map(|last| opened_by(last).0);
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Lists a page of sessions, and counts them.
    async fn list(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>, StorageError> {
        let look = self.walk.as_ref().map(Walk::look);
        let listed = self.inspect.uploads(repository, page).await?;
        if let Some(look) = look {
            look.found(repository, listed.items.iter().map(opened_by));
        }
        Ok(listed)
    }

    /// Ends a session if it is abandoned.
    async fn end(&mut self, repository: &RepositoryName, session: &UploadState) {
        let ending = self.ending.filter(|ending| (ending.is_abandoned)(session));
        let Some(Ending { expire, told, .. }) = ending else {
            self.report.open += 1;
            return;
        };
        let UploadState { id, offset, .. } = session;
        match expire.expire_upload(repository, session).await {
            Ok(true) => {
                tracing::info!(%repository, %id, bytes = offset, "an abandoned upload session has expired");
                self.report.expired += 1;
                self.report.bytes += offset;
                if let Some(walk) = &self.walk {
                    walk.ended(repository, id);
                }
                told(repository, session);
            }
            // A client has continued or ended the session meanwhile.
            Ok(false) => self.report.open += 1,
            Err(error) => {
                tracing::warn!(%repository, %id, %error, "cannot end an abandoned upload session");
                self.report.failed += 1;
            }
        }
    }
}

/// Returns the id of a listed session, and the uploader if it can be read.
fn opened_by(seen: &Seen<UploadState, UploadId>) -> (UploadId, Option<Uploader>) {
    match seen {
        Seen::Whole(session) => (session.id, session.opened_by.clone()),
        Seen::Unreadable { key, .. } => (*key, None),
    }
}
