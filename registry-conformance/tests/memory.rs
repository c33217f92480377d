//! The storage contract for the backend in memory, alone and behind a pointer.

use registry_conformance::{storage::Backend, storage_tests};
use registry_core::storage::{MemoryStorage, Storage};
use std::sync::Arc;

async fn memory() -> Backend {
    let storage = MemoryStorage::new();
    Backend::new(Arc::new(storage.clone()), Arc::new(storage))
}

storage_tests!(memory, collect, expire, health, inspect, repair, trash);

/// `Arc<S>` forwards every method to the same one of `S`.
mod shared {
    use super::*;

    async fn shared() -> Backend {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        Backend::new(Arc::new(Arc::clone(&storage)), Arc::new(storage))
    }

    storage_tests!(shared, collect, expire, health, inspect, repair, trash);
}
