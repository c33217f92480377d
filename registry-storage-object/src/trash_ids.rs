//! [`TrashIds`]: ids of deletions, each later than the one before.

use registry_core::storage::TrashId;
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Ids of this process.
#[derive(Debug, Default)]
pub(crate) struct TrashIds(Mutex<Option<TrashId>>);

impl TrashIds {
    /// Returns an id of about that time, later than the last one.
    pub(crate) fn next(&self, time: SystemTime) -> TrashId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = TrashId::following(time, *last);
        *last = Some(id);
        id
    }
}
