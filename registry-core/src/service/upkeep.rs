//! Recurring maintenance of a registry: it reports to the hooks, and corrects the ledger.

use super::{Authority, Registry, operation::Operation};
use crate::{
    hooks::EventKind,
    ledger::UploadLedger,
    maintenance::{
        Clock, CollectEvent, CollectOptions, CollectReport, Upkeep, VerifyEvent, VerifyOptions, VerifyReport,
        collect, verify,
    },
    name::RepositoryName,
    storage::{StorageError, UploadState},
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
        let upkeep = upkeep.sparse_indexes(self.inner.sparse_indexes);
        if self.inner.read_only {
            upkeep.uploads(None).trash(None)
        } else {
            upkeep
        }
    }

    /// Verifies everything stored, as [`maintenance::verify`](fn@crate::maintenance::verify) does, by the rules of this registry: it knows
    /// if an [index](crate::service::Builder::allow_sparse_indexes) may name manifests that are elsewhere.
    ///
    /// # Cancel safety
    ///
    /// The same as for [`maintenance::verify`](fn@crate::maintenance::verify).
    ///
    /// # Errors
    ///
    /// The same as for [`maintenance::verify`](fn@crate::maintenance::verify).
    pub async fn verify(
        &self,
        options: VerifyOptions<'_>,
        told: &mut (dyn FnMut(VerifyEvent<'_>) + Send),
    ) -> Result<VerifyReport, StorageError> {
        let options = options.sparse_indexes(self.inner.sparse_indexes);
        verify(&*self.inner.storage, options, told).await
    }

    /// Removes content that nothing refers to, like [`maintenance::collect`](collect), unless the registry refuses
    /// changes.
    ///
    /// # Cancel safety
    ///
    /// The same as for [`collect`].
    ///
    /// # Errors
    ///
    /// [`StorageError::ReadOnly`] if the registry refuses changes and the options are not those of a dry run. Otherwise the
    /// same as for [`collect`].
    pub async fn collect(
        &self,
        options: &CollectOptions,
        clock: &dyn Clock,
        told: &(dyn Fn(&CollectEvent<'_>) + Send + Sync),
    ) -> Result<CollectReport, StorageError> {
        if self.inner.read_only && !options.is_dry_run() {
            return Err(StorageError::ReadOnly);
        }
        collect(&*self.inner.storage, options, clock, told).await
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
