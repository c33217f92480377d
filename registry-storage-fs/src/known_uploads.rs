//! [`OpenUploads`]: the upload sessions that this process knows.

use crate::layout::Layout;
use registry_core::{RepositoryName, UploadId};
use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound::{Excluded, Unbounded},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Mutex as AsyncMutex;

/// Known upload sessions of a directory.
#[derive(Debug)]
pub(crate) struct OpenUploads {
    known: Mutex<Known>,
    pub(crate) unread: AsyncMutex<Unread>,
}

/// Places of sessions from before the start that have not been read yet.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    /// True until the records have been read.
    pub(crate) records: bool,
    /// Directories among the repositories that may contain sessions without a record, at any depth.
    pub(crate) directories: Vec<PathBuf>,
}

/// Open sessions by repository. A repository without one is absent.
#[derive(Debug, Default)]
pub(crate) struct Known {
    open: BTreeMap<RepositoryName, HashSet<UploadId>>,
}

impl Known {
    /// Adds a session; returns false if it was known.
    pub(crate) fn add(&mut self, repository: &RepositoryName, id: UploadId) -> bool {
        self.open.entry(repository.clone()).or_default().insert(id)
    }

    /// Returns the number of sessions in all repositories.
    #[cfg(test)]
    pub(crate) fn all(&self) -> usize {
        self.open.values().map(HashSet::len).sum()
    }

    /// Returns true if a repository has a session.
    pub(crate) fn has(&self, repository: &RepositoryName) -> bool {
        self.open.contains_key(repository)
    }

    /// Returns the sessions of a repository.
    pub(crate) fn of(&self, repository: &RepositoryName) -> impl Iterator<Item = &UploadId> {
        self.open.get(repository).into_iter().flatten()
    }

    /// Returns the first repository with a session that sorts after `after`.
    pub(crate) fn next(&self, after: Option<&RepositoryName>) -> Option<&RepositoryName> {
        let bounds = (after.map_or(Unbounded, Excluded), Unbounded);
        let mut range = self.open.range::<RepositoryName, _>(bounds);
        range.next().map(|(repository, _)| repository)
    }

    /// Removes a session, if it is known.
    pub(crate) fn end(&mut self, repository: &RepositoryName, id: &UploadId) {
        if let Some(sessions) = self.open.get_mut(repository) {
            sessions.remove(id);
            if sessions.is_empty() {
                self.open.remove(repository);
            }
        }
    }
}

impl OpenUploads {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            known: Mutex::default(),
            unread: AsyncMutex::new(Unread {
                records: true,
                directories: vec![layout.repositories()],
            }),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
