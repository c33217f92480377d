//! The storage contract for the backend in memory, alone, behind a pointer, and with handles for reading only.

use registry_conformance::{storage::Backend, storage_tests};
use registry_core::storage::{MemoryStorage, ReadOnlyStorage, Storage};
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

/// Handles of `ReadOnlyStorage` read what the others write, and change nothing.
mod read_only {
    use super::*;

    async fn memory() -> Backend {
        let storage = MemoryStorage::new();
        let reader = ReadOnlyStorage::new(storage.clone());
        Backend::new(Arc::new(storage.clone()), Arc::new(storage)).reading(move || Arc::new(reader.clone()))
    }

    storage_tests!(memory, collect, expire, health, inspect, read_only, repair, trash);
}
