//! [`Removals`]: objects of sessions that are about to be removed.

use crate::process::lock;
use std::sync::Mutex;

/// Keys of objects of sessions that are about to be removed together.
#[derive(Debug, Default)]
pub(crate) struct Removals(Mutex<Vec<String>>);

impl Removals {
    /// Adds keys, and returns true if there were none.
    pub(super) fn add(&self, keys: impl Iterator<Item = String>) -> bool {
        let mut waiting = lock(&self.0);
        let is_first = waiting.is_empty();
        waiting.extend(keys);
        is_first
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}
