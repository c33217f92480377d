//! [`Known`]: the state of the collection as a process has read it.

use super::condemned::Condemned;
use crate::bucket::StoreTime;
use std::sync::Arc;
use tokio::time::Instant;

/// State of the collection as it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(super) epoch: u64,
    /// True if the bucket had a state of the collection.
    pub(super) exists: bool,
    pub(super) condemned: Arc<Condemned>,
    /// A time of the store's clock before it was read.
    pub(super) told: StoreTime,
    pub(super) read: Instant,
}

impl Known {
    /// Returns the epoch, if the bucket had a state of the collection.
    pub(crate) fn found(&self) -> Option<u64> {
        self.exists.then_some(self.epoch)
    }
}
