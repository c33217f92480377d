//! The storage contract, kept by a bucket.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{storage::Backend, storage_tests};
use registry_storage_object::{Location, ObjectStorage};
use std::sync::Arc;

/// Two replicas on one bucket.
async fn memory() -> Backend {
    let bucket = Location::memory();
    let open = || async { Arc::new(ObjectStorage::options().open(bucket.clone()).await.unwrap()) };
    Backend::new(open().await, open().await)
}

storage_tests!(memory, expire, health, inspect, repair, trash);
