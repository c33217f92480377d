//! [`KnownSessions`]: the repositories of sessions, which never change.

use registry_core::{RepositoryName, UploadId};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

/// Repositories of the sessions that were listed last.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(Mutex<HashMap<UploadId, RepositoryName>>);

impl KnownSessions {
    pub(super) fn get(&self) -> HashMap<UploadId, RepositoryName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, sessions: &BTreeMap<UploadId, RepositoryName>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = sessions.iter().map(|(id, name)| (*id, name.clone())).collect();
    }
}
