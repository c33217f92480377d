//! The storage contract, kept by a bucket.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{
    storage::{Backend, Handles},
    storage_tests,
};
use registry_storage_object::{Location, ObjectStorage};
use std::sync::Arc;

/// Opens two replicas on one bucket.
async fn replicas(bucket: Location) -> Handles {
    let open = || async { Arc::new(ObjectStorage::options().open(bucket.clone()).await.unwrap()) };
    (open().await, open().await)
}

async fn memory() -> Backend {
    let bucket = Location::memory();
    let (first, second) = replicas(bucket.clone()).await;
    Backend::new(first, second).reopening(move || replicas(bucket.clone()))
}

storage_tests!(memory, expire, health, inspect, repair, restart, trash);
