//! [`Completed`]: the repositories whose index of referrers this process has completed.

use super::entry::Entry;
use registry_core::{Digest, RepositoryName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// Number of repositories whose completion a process remembers.
const REMEMBERED: usize = 10_000;

/// Repositories whose index is complete.
#[derive(Debug, Default)]
pub(crate) struct Completed(Mutex<HashMap<RepositoryName, Arc<OnceCell<Arc<Missing>>>>>);

/// Entries that a process that only reads has not written.
#[derive(Debug, Default)]
pub(super) struct Missing(pub(super) Vec<Entry>);

impl Missing {
    pub(super) fn of(&self, subject: &Digest) -> impl Iterator<Item = Entry> {
        self.0
            .iter()
            .filter(move |entry| entry.subject == *subject)
            .copied()
    }
}

impl Completed {
    pub(super) fn cell(&self, repository: &RepositoryName) -> Arc<OnceCell<Arc<Missing>>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= REMEMBERED && !cells.contains_key(repository) {
            cells.clear();
        }
        Arc::clone(cells.entry(repository.clone()).or_default())
    }
}
