//! The storage contract, kept by a bucket whose store has no precondition but that an object is absent.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{
    storage::{Backend, Handles},
    storage_tests,
};
use registry_storage_object::{Kept, Location, ObjectStorage};
use std::sync::Arc;

/// Opens two replicas, which move records as entries of numbered logs.
async fn replicas(bucket: Location) -> Handles {
    let mut probe = ObjectStorage::options().probe(&bucket).await.unwrap();
    probe.update = Kept::Never;
    probe.delete = Kept::Never;
    let open = || async {
        let options = ObjectStorage::options().part_size(400_001).probed(probe.clone());
        Arc::new(options.open(bucket.clone()).await.unwrap())
    };
    (open().await, open().await)
}

async fn logs() -> Backend {
    let bucket = Location::memory();
    let (first, second) = replicas(bucket.clone()).await;
    Backend::new(first, second).reopening(move || replicas(bucket.clone()))
}

storage_tests!(logs, collect, expire, health, inspect, repair, restart, trash);
