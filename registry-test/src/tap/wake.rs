//! [`Wake`]: waiting that ends with the connection.

use super::patience::lock;
use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// State of a connection, for threads that wait on its behalf.
#[derive(Default)]
pub(super) struct Wake {
    ending: Mutex<Ending>,
    changed: Condvar,
}

/// The sides of a connection that have ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending {
    /// The tap has closed the connection.
    pub(super) closed: bool,
    /// The client sends no more.
    pub(super) client: bool,
}

impl Wake {
    pub(super) fn close(&self) {
        lock(&self.ending).closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.ending).closed
    }

    pub(super) fn client_left(&self) {
        lock(&self.ending).client = true;
        self.changed.notify_all();
    }

    /// Makes waiting threads check their conditions again.
    pub(super) fn notify(&self) {
        // With the lock, no thread is between its check and its wait.
        drop(lock(&self.ending));
        self.changed.notify_all();
    }

    /// Waits until a condition is met or `time` has passed; returns true if it is met.
    pub(super) fn wait(&self, time: Duration, met: impl Fn(Ending) -> bool) -> bool {
        let ending = lock(&self.ending);
        let waited = self
            .changed
            .wait_timeout_while(ending, time, |ending| !met(*ending));
        met(*waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}
