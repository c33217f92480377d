//! [`ObjectStorage`]: the public handle of a storage in a bucket.

use crate::{bucket::Bucket, options::ObjectOptions, probe::Probe, store::Store};
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

    /// Without a probe, nothing is written.
    pub(crate) fn new(bucket: Bucket, options: ObjectOptions, probe: Option<&Probe>) -> Self {
        Self {
            store: Arc::new(Store::new(bucket, options, probe)),
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
