//! [`TrashIds`]: the ids of the records of deletions.

use registry_core::storage::TrashId;
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Issues the ids of records. Only the owner of a directory writes records.
#[derive(Debug, Default)]
pub(crate) struct TrashIds(Mutex<Option<TrashId>>);

impl TrashIds {
    pub(crate) fn next(&self) -> TrashId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = TrashId::following(SystemTime::now(), *last);
        *last = Some(id);
        id
    }
}
