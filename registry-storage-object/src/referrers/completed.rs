//! [`Completed`]: the repositories whose index of referrers this process has completed.

use super::entry::Entry;
use registry_core::{Digest, RepositoryName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::sync::watch;

/// Number of repositories whose completion a process remembers.
const REMEMBERED: usize = 10_000;

/// Repositories whose index is complete, or is being completed.
#[derive(Debug, Default)]
pub(crate) struct Completed(Mutex<HashMap<RepositoryName, Arc<Completion>>>);

/// Entries that a process that only reads has not written.
#[derive(Debug, Default)]
pub(super) struct Missing(pub(super) Vec<Entry>);

/// Completion of one repository.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub(super) done: OnceLock<Arc<Missing>>,
    /// Attempt that runs, or has failed. Its value is the reason.
    attempt: Mutex<Option<watch::Receiver<Option<String>>>>,
}

/// Part of a request in an attempt.
pub(super) enum Part {
    /// To make the attempt. It ends when this is dropped.
    Make(watch::Sender<Option<String>>),
    /// To wait for its end.
    Await(watch::Receiver<Option<String>>),
}

impl Missing {
    pub(super) fn of(&self, subject: &Digest) -> impl Iterator<Item = Entry> {
        self.0
            .iter()
            .filter(move |entry| entry.subject == *subject)
            .copied()
    }
}

impl Completion {
    /// Joins the attempt that runs, or begins one. All who wait for an attempt share its end, so that no queue is left of those
    /// whose clients have gone.
    pub(super) fn join(&self) -> Part {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        match &*attempt {
            // Its sender is there.
            Some(running) if running.has_changed().is_ok() => Part::Await(running.clone()),
            _ => {
                let (sender, receiver) = watch::channel(None);
                *attempt = Some(receiver);
                Part::Make(sender)
            }
        }
    }
}

impl Completed {
    pub(super) fn of(&self, repository: &RepositoryName) -> Arc<Completion> {
        let mut completions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if completions.len() >= REMEMBERED && !completions.contains_key(repository) {
            completions.clear();
        }
        Arc::clone(completions.entry(repository.clone()).or_default())
    }
}
