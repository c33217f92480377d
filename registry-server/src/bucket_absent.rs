//! Stands for `bucket.rs` in a program that is built without the feature `object-storage`.

use crate::config::Bucket;
use registry_core::{Storage, maintenance::Notes, storage::StorageError};
use std::{fmt, sync::Arc};

/// A bucket that is open. There is none.
#[derive(Clone)]
pub(crate) struct OpenBucket {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) notes: Arc<dyn Notes>,
}

impl OpenBucket {
    /// Does nothing.
    pub(crate) async fn release(&self) {}
}

impl fmt::Debug for OpenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBucket")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// Use of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing is changed.
    Read,
    Write,
}

/// Outcome of a probe. There is none.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) table: String,
    pub(crate) supports_replicas: bool,
}

/// Refuses.
pub(crate) async fn open(_: &Bucket, _: Use) -> Result<OpenBucket, StorageError> {
    Err(absent())
}

/// Refuses.
pub(crate) async fn open_for_command(_: &Bucket, _: Use) -> Result<OpenBucket, StorageError> {
    Err(absent())
}

/// Refuses.
pub(crate) async fn probe(_: &Bucket) -> Result<Probed, StorageError> {
    Err(absent())
}

fn absent() -> StorageError {
    StorageError::denied("this program was built without the feature `object-storage`")
}

/// Explains why a bucket cannot be opened, with the key that names it.
pub(crate) fn explained(bucket: &Bucket, error: &StorageError) -> String {
    format!("storage.{} ({bucket}): {error}", bucket.driver())
}
