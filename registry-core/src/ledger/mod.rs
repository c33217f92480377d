//! [`UploadLedger`]: the count of open upload sessions of a storage, and the bounds on it.
//!
//! The service counts a session before it opens it, until it has ended. The bounds therefore hold at any time for the
//! sessions of this process, however many are opened at once.
//!
//! Sessions of an earlier process, or of another one, are found by a walk through the storage, which
//! [maintenance](crate::maintenance::reconcile_uploads) does in the background. It also drops sessions that ended
//! elsewhere. Nothing here performs I/O or reads a clock.

mod books;
mod bounds;

pub(crate) use self::bounds::UploadBounds;

use self::books::{Books, Place};
use crate::{error::Error, name::RepositoryName, storage::Uploader, upload_id::UploadId};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Count of the open upload sessions of one storage. Cheap to clone; all clones share one count.
///
/// A registry has a ledger of its own unless [`Builder::upload_ledger`](crate::service::Builder::upload_ledger) sets
/// one. Several registries on one storage share a ledger, so that their [limits](crate::Limits) count the sessions of
/// all of them. Registries on different storages must not share one.
///
/// - Within one process, sessions count from the request that opens them until they end.
/// - Sessions of other processes, and those from before the start, count once [`Upkeep`](crate::maintenance::Upkeep)
///   or [`reconcile_uploads`](crate::maintenance::reconcile_uploads) has found them. Several processes on one storage
///   therefore converge, and may exceed a limit together until then.
///
/// ```
/// use registry_core::{Registry, UploadLedger, storage::MemoryStorage};
///
/// let (storage, ledger) = (MemoryStorage::new(), UploadLedger::new());
/// let internal = Registry::builder(storage.clone()).upload_ledger(ledger.clone()).build();
/// let public = Registry::builder(storage).upload_ledger(ledger.clone()).read_only().build();
/// assert_eq!(ledger.open_uploads(), 0);
/// ```
#[derive(Clone, Default)]
pub struct UploadLedger {
    books: Arc<Mutex<Books>>,
}

impl UploadLedger {
    /// Creates an empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of open upload sessions in all repositories, as far as they are known.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.books().open()
    }

    /// Counts a session that is about to be opened.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyUploads`] with the bound that is reached.
    pub(crate) fn admit(
        &self,
        repository: &RepositoryName,
        uploader: Option<&Uploader>,
        bounds: UploadBounds,
    ) -> Result<Seat, Error> {
        let place = Place {
            repository: repository.clone(),
            uploader: uploader.cloned(),
        };
        let number = self.books().admit(&place, bounds)?;
        Ok(Seat {
            ledger: self.clone(),
            number,
            place: Some(place),
        })
    }

    /// Records that a session has ended. Does nothing if it did not count.
    pub(crate) fn ended(&self, repository: &RepositoryName, id: &UploadId) {
        self.books().ended(repository, id);
    }

    /// Records that the storage has no such session. Does nothing if it did not count.
    pub(crate) fn absent(&self, repository: &RepositoryName, id: &UploadId) {
        self.books().absent(repository, id);
    }

    /// Returns the sessions that count.
    pub(crate) fn sessions(&self) -> Vec<(RepositoryName, UploadId)> {
        self.books().sessions()
    }

    /// Starts a walk through all sessions of the storage.
    pub(crate) fn walk(&self) -> Walk {
        Walk {
            number: self.books().begin_walk(),
            ledger: self.clone(),
        }
    }

    /// Returns the number of ended sessions that are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.books().remembered()
    }

    /// Locks the books. A panic elsewhere cannot leave them inconsistent: every change is a few operations of maps.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for UploadLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadLedger")
            .field("open_uploads", &self.open_uploads())
            .finish_non_exhaustive()
    }
}

/// Count of a session that is being opened. Given back on drop, unless the session was opened.
#[derive(Debug)]
#[must_use]
pub(crate) struct Seat {
    ledger: UploadLedger,
    number: u64,
    /// `None` once the session was opened.
    place: Option<Place>,
}

impl Seat {
    /// Turns the count into that of the session with this id, which the storage has opened.
    pub(crate) fn opened(mut self, id: UploadId) {
        if let Some(place) = self.place.take() {
            self.ledger.books().opened(self.number, &place, id);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.ledger.books().leave(self.number, &place);
        }
    }
}

/// Comparison of the ledger with all sessions of the storage. Dropping it unfinished drops no session.
#[derive(Debug)]
pub(crate) struct Walk {
    ledger: UploadLedger,
    number: u64,
}

impl Walk {
    /// Announces that a page of sessions is about to be listed.
    pub(crate) fn look(&self) -> Look<'_> {
        self.ledger.books().begin_look();
        Look(self)
    }

    /// Keeps the sessions of a repository that cannot be listed.
    pub(crate) fn keep(&self, repository: &RepositoryName) {
        self.ledger.books().keep(repository, self.number);
    }

    /// Records that a session has ended.
    pub(crate) fn ended(&self, repository: &RepositoryName, id: &UploadId) {
        self.ledger.ended(repository, id);
    }

    /// Drops the sessions that were opened before the walk and that it did not find.
    pub(crate) fn finish(self) {
        self.ledger.books().end_walk(self.number);
    }
}

/// Listing of one page of sessions, in progress.
#[derive(Debug)]
pub(crate) struct Look<'a>(&'a Walk);

impl Look<'_> {
    /// Adds the listed sessions of a repository that do not count yet, except those that have ended since.
    pub(crate) fn found(
        self,
        repository: &RepositoryName,
        sessions: impl Iterator<Item = (UploadId, Option<Uploader>)>,
    ) {
        let mut books = self.0.ledger.books();
        for (id, uploader) in sessions {
            let place = Place {
                repository: repository.clone(),
                uploader,
            };
            books.found(place, id, self.0.number);
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.ledger.books().end_look();
    }
}
