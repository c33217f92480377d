//! [`Sessions`]: the upload sessions of a repository, counted by the ledger.

use super::last_states::LastStates;
use crate::{
    digest::Digest,
    error::Error,
    hash::Hasher,
    ledger::{UploadBounds, UploadLedger},
    name::RepositoryName,
    storage::{
        BlobInfo, IngestError, NewUpload, Result, StorageError, StorageWrite, UploadBody, UploadState,
        Verified, verify,
    },
    upload_id::UploadId,
};

/// Upload sessions of a repository. Each call that opens a session, ends it or does not find it is recorded in the
/// ledger. No other part of the service calls the storage for sessions.
#[derive(Clone, Copy)]
pub(super) struct Sessions<'a> {
    pub(super) write: &'a dyn StorageWrite,
    pub(super) ledger: &'a UploadLedger,
    /// `None` if the storage knows its sessions without a request to anybody.
    pub(super) last_states: Option<&'a LastStates>,
    pub(super) repository: &'a RepositoryName,
}

impl Sessions<'_> {
    /// Opens a session if the bounds allow one more.
    pub(super) async fn open(self, new: NewUpload, bounds: UploadBounds) -> Result<UploadState, Error> {
        // If this future is dropped, the seat is released. If the storage has opened a session, the next walk counts it.
        let seat = self
            .ledger
            .admit(self.repository, new.uploader.as_ref(), bounds)?;
        let state = self.write.open_upload(self.repository, new).await?;
        seat.opened(state.id);
        Ok(state)
    }

    /// Keeps the state that the last call has returned, for the next request of the client.
    pub(super) fn remember(self, state: &UploadState) {
        if let Some(states) = self.last_states {
            states.put(self.repository, state.clone());
        }
    }

    /// Returns the state in which this process has left a session. It may be an old one, which the storage refuses.
    pub(super) fn recall(self, id: &UploadId) -> Option<UploadState> {
        self.last_states?.take(self.repository, id)
    }

    pub(super) async fn find(self, id: &UploadId) -> Result<Option<UploadState>> {
        let found = self.write.upload(self.repository, id).await?;
        if found.is_none() {
            self.ledger.absent(self.repository, id);
        }
        Ok(found)
    }

    pub(super) async fn append(self, state: UploadState, body: &mut UploadBody<'_>) -> Result<UploadState> {
        let id = state.id;
        let appended = self.write.append(self.repository, state, body).await;
        self.unless_unknown(&id, appended)
    }

    /// Verifies a session, as the first step of its commit.
    pub(super) async fn verify(
        self,
        state: UploadState,
        hasher: Option<Hasher>,
        expected: Option<Digest>,
    ) -> Result<(UploadState, Verified), IngestError> {
        let id = state.id;
        let verified = verify(self.write, self.repository, state, hasher, expected).await;
        if let Err(IngestError::Storage(StorageError::UploadUnknown)) = verified {
            self.ledger.ended(self.repository, &id);
        }
        verified
    }

    pub(super) async fn commit(self, state: UploadState, proof: Verified) -> Result<BlobInfo> {
        let id = state.id;
        drop(self.recall(&id));
        let committed = self.write.commit(self.repository, state, proof).await;
        if committed.is_ok() {
            self.ledger.ended(self.repository, &id);
        }
        self.unless_unknown(&id, committed)
    }

    pub(super) async fn cancel(self, id: &UploadId) -> Result<bool> {
        drop(self.recall(id));
        let was_open = self.write.cancel(self.repository, id).await?;
        if was_open {
            self.ledger.ended(self.repository, id);
        } else {
            self.ledger.absent(self.repository, id);
        }
        Ok(was_open)
    }

    /// Counts the session no longer if the storage does not have it.
    fn unless_unknown<T>(self, id: &UploadId, result: Result<T>) -> Result<T> {
        if let Err(StorageError::UploadUnknown) = result {
            self.ledger.ended(self.repository, id);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, Storage as _};

    #[tokio::test]
    async fn ids_of_no_session_are_not_remembered_while_sessions_are_listed() {
        let (storage, ledger) = (MemoryStorage::new(), UploadLedger::new());
        let repository = RepositoryName::parse("a").unwrap();
        let sessions = Sessions {
            write: storage.write().unwrap(),
            ledger: &ledger,
            last_states: None,
            repository: &repository,
        };
        let walk = ledger.walk();
        let _listing = walk.look();

        for number in 0..100 {
            let id = UploadId::from_random([number; 16]);
            assert!(sessions.find(&id).await.unwrap().is_none());
            assert!(!sessions.cancel(&id).await.unwrap());
        }

        assert_eq!(ledger.remembered(), 0);
    }
}
