//! [`OpenUploads`]: the upload sessions that this process knows.

use crate::layout::Layout;
use registry_core::{
    RepositoryName, UploadId,
    storage::{NewUpload, Result, Uploader},
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::Bound::{Excluded, Unbounded},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

/// Known upload sessions of a directory.
#[derive(Debug)]
pub(crate) struct OpenUploads {
    known: Mutex<Known>,
    /// Set once the records have been read.
    pub(crate) recorded: OnceCell<()>,
    /// Directories among the repositories that may contain sessions without a record, at any depth.
    pub(crate) unsearched: AsyncMutex<Vec<PathBuf>>,
}

/// Open sessions by repository. A repository without one is absent.
#[derive(Debug, Default)]
pub(crate) struct Known {
    open: BTreeMap<RepositoryName, HashMap<UploadId, Option<Uploader>>>,
    all: usize,
    /// Number of sessions by uploader, if known. The uploader of a session from before the start is not.
    by_uploader: HashMap<Uploader, usize>,
}

impl Known {
    /// Adds a session, if the bounds allow one more.
    pub(crate) fn begin(&mut self, repository: &RepositoryName, id: UploadId, new: &NewUpload) -> Result<()> {
        let own = new.uploader.as_ref().and_then(|who| self.by_uploader.get(who));
        let own = own.copied().unwrap_or(0);
        let here = self.open.get(repository).map_or(0, HashMap::len);
        new.bounds.admit(here, self.all, own)?;
        self.add(repository, id, new.uploader.clone());
        Ok(())
    }

    /// Adds a session; returns false if it was known.
    pub(crate) fn add(
        &mut self,
        repository: &RepositoryName,
        id: UploadId,
        uploader: Option<Uploader>,
    ) -> bool {
        let sessions = self.open.entry(repository.clone()).or_default();
        let Entry::Vacant(session) = sessions.entry(id) else {
            return false;
        };
        if let Some(who) = &uploader {
            *self.by_uploader.entry(who.clone()).or_default() += 1;
        }
        session.insert(uploader);
        self.all += 1;
        true
    }

    /// Returns the number of sessions in all repositories.
    pub(crate) const fn all(&self) -> usize {
        self.all
    }

    /// Returns true if a repository has a session.
    pub(crate) fn has(&self, repository: &RepositoryName) -> bool {
        self.open.contains_key(repository)
    }

    /// Returns the sessions of a repository.
    pub(crate) fn of(&self, repository: &RepositoryName) -> impl Iterator<Item = &UploadId> {
        self.open.get(repository).into_iter().flat_map(HashMap::keys)
    }

    /// Returns the first repository with a session that sorts after `after`.
    pub(crate) fn next(&self, after: Option<&RepositoryName>) -> Option<&RepositoryName> {
        let bounds = (after.map_or(Unbounded, Excluded), Unbounded);
        let mut range = self.open.range::<RepositoryName, _>(bounds);
        range.next().map(|(repository, _)| repository)
    }

    /// Removes a session, if it is known.
    pub(crate) fn end(&mut self, repository: &RepositoryName, id: &UploadId) {
        let Some(sessions) = self.open.get_mut(repository) else {
            return;
        };
        let Some(uploader) = sessions.remove(id) else {
            return;
        };
        if sessions.is_empty() {
            self.open.remove(repository);
        }
        self.all -= 1;
        if let Some(who) = uploader
            && let Entry::Occupied(mut own) = self.by_uploader.entry(who)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

impl OpenUploads {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            known: Mutex::default(),
            recorded: OnceCell::new(),
            unsearched: AsyncMutex::new(vec![layout.repositories()]),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
