//! Waiting for locks and for bytes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Maximum time without bytes before a connection is closed: a safety net for tests that hang.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// Locks data that no panic can leave half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
