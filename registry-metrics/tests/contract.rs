//! The storage contract for a measured storage: every operation, on every plane, is forwarded.

use registry_conformance::{storage::Backend, storage_tests};
use registry_core::{Storage, storage::MemoryStorage};
use registry_metrics::{StorageMetrics, prometheus_client::registry::Registry};
use std::sync::Arc;

async fn measured() -> Backend {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let metrics = StorageMetrics::register(&mut Registry::default(), "inmemory");
    let handle = || -> Arc<dyn Storage> { Arc::new(metrics.clone().wrap(Arc::clone(&storage))) };
    Backend::new(handle(), handle())
}

storage_tests!(measured, collect, expire, health, inspect, repair, trash);
