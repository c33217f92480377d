//! Recurring maintenance of a registry: it reports to the hooks, and corrects the ledger.

use super::{Authority, Registry, operation::Operation};
use crate::{
    hooks::EventKind, ledger::UploadLedger, maintenance::Upkeep, name::RepositoryName, storage::UploadState,
};
use std::sync::Arc;

impl Registry {
    /// Returns all recurring maintenance, as a future that the host has to drive. A registry that refuses
    /// changes keeps all upload sessions, so that their clients can continue later, and all records of deletions.
    pub fn upkeep(&self) -> Upkeep {
        let registry = self.clone();
        let (storage, ledger) = (Arc::clone(&self.inner.storage), self.inner.ledger.clone());
        let upkeep = Upkeep::new(storage, ledger, move |repository, session| {
            registry.tell_expired(repository, session);
        });
        if self.inner.read_only {
            upkeep.uploads(None).trash(None)
        } else {
            upkeep
        }
    }

    /// Returns the ledger that counts the open upload sessions.
    #[must_use]
    pub fn upload_ledger(&self) -> &UploadLedger {
        &self.inner.ledger
    }

    /// Sends the hooks the event of an upload session that has expired.
    fn tell_expired(&self, repository: &RepositoryName, session: &UploadState) {
        let repository = self.scope(repository.clone(), Authority::host());
        Operation::begin(&repository).end(|| EventKind::UploadAbandoned {
            upload: session.id,
            size: Some(session.offset),
        });
    }
}
