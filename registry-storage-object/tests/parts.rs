//! The storage contract, kept by a bucket whose parts are so small that most blobs have several.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{storage::Backend, storage_tests};
use registry_storage_object::{Location, ObjectStorage};
use std::sync::Arc;

/// Two replicas on one bucket.
async fn small_parts() -> Backend {
    let bucket = Location::memory();
    let open = |size| {
        let options = ObjectStorage::options().part_size(size).part_memory(8 << 20);
        let bucket = bucket.clone();
        async move { Arc::new(options.open(bucket).await.unwrap()) }
    };
    let (first, second) = (open(50_000).await, open(50_000).await);
    Backend::new(first, second).reopening(move || {
        let options = ObjectStorage::options().part_size(64 << 10).equal_parts();
        let bucket = bucket.clone();
        async move {
            let first = Arc::new(options.clone().open(bucket.clone()).await.unwrap());
            let second = Arc::new(options.open(bucket).await.unwrap());
            (first as _, second as _)
        }
    })
}

storage_tests!(
    small_parts,
    collect,
    expire,
    health,
    inspect,
    repair,
    restart,
    trash
);
