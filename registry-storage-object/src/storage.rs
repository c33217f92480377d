//! [`ObjectStorage`]: the public handle of a storage in a bucket.

use crate::{bucket::Bucket, lease::Lease, options::ObjectOptions, probe::Probe, store::Store};
use registry_core::storage::Result;
use std::{fmt, sync::Arc};

/// Storage in a bucket of an object store. Clones share one state.
#[derive(Clone)]
pub struct ObjectStorage {
    pub(crate) store: Arc<Store>,
}

impl ObjectStorage {
    /// Returns the default settings.
    #[must_use]
    pub fn options() -> ObjectOptions {
        ObjectOptions::new()
    }

    /// Gives the bucket back where only one process may write, so that the next one need not wait half a minute. Nothing may
    /// be written afterwards. Does nothing in other buckets.
    ///
    /// # Errors
    ///
    /// [`StorageError`](registry_core::storage::StorageError) if the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    pub async fn release(&self) -> Result<()> {
        match &self.store.lease {
            Some(lease) => lease.release(&self.store.bucket).await,
            None => Ok(()),
        }
    }

    /// Without a probe, nothing is written.
    pub(crate) fn new(
        bucket: Bucket,
        options: ObjectOptions,
        probe: Option<&Probe>,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            store: Arc::new(Store::new(bucket, options, probe, lease)),
        }
    }
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage")
            .field("bucket", &self.store.bucket)
            .finish_non_exhaustive()
    }
}
