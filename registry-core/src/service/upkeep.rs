//! Recurring maintenance of a registry, of which its hooks hear.

use super::{Authority, Registry, operation::Operation};
use crate::{hooks::EventKind, maintenance::Upkeep, name::RepositoryName, storage::UploadState};
use std::sync::Arc;

impl Registry {
    /// Returns all recurring maintenance, as a future that the host has to drive. A registry that refuses
    /// changes keeps all upload sessions, so that their clients can continue later.
    pub fn upkeep(&self) -> Upkeep {
        let registry = self.clone();
        let upkeep = Upkeep::new(Arc::clone(&self.inner.storage), move |repository, session| {
            registry.tell_expired(repository, session);
        });
        if self.inner.read_only {
            upkeep.uploads(None)
        } else {
            upkeep
        }
    }

    /// Tells the hooks that an upload session has expired.
    fn tell_expired(&self, repository: &RepositoryName, session: &UploadState) {
        let repository = self.scope(repository.clone(), Authority::Host);
        Operation::begin(&repository).end(|| EventKind::UploadAbandoned {
            upload: session.id,
            size: Some(session.offset),
        });
    }
}
