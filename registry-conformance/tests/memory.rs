//! The storage contract for the backend in memory: alone, behind a pointer, with handles for reading only, for one of its
//! tenants, and above and below another one.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{storage::Backend, storage_tests};
use registry_core::{
    Algorithm, MediaType, RepositoryName,
    storage::{
        FallbackStorage, MemoryStorage, PrefixStorage, PutManifest, ReadOnlyStorage, Storage, Verified,
    },
};
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

/// A tenant keeps the contract, beside neighbours whose names are around its own.
mod tenant {
    use super::*;

    async fn tenant() -> Backend {
        let storage = MemoryStorage::new();
        for neighbour in ["acme", "acme-x/a", "acme.x", "acme0/a", "acme_x", "b", "zz"] {
            create(&storage, neighbour).await;
        }
        let prefix = RepositoryName::parse("acme").unwrap();
        let tenant = PrefixStorage::new(storage, prefix);
        Backend::new(Arc::new(tenant.clone()), Arc::new(tenant))
    }

    storage_tests!(tenant);
}

/// An upper storage keeps the contract above a lower one. Handles whose upper storage is empty read all from the lower.
mod fallback {
    use super::*;

    async fn above() -> Backend {
        let storage = MemoryStorage::new();
        let both = FallbackStorage::new(storage, MemoryStorage::new());
        let reader = both.clone();
        Backend::new(Arc::new(both.clone()), Arc::new(both)).reading(move || {
            let nothing = ReadOnlyStorage::new(MemoryStorage::new());
            Arc::new(FallbackStorage::new(nothing, reader.clone()))
        })
    }

    storage_tests!(above, health, read_only, trash);
}

/// Makes a repository exist.
async fn create(storage: &MemoryStorage, name: &str) {
    let index = Verified::of(Algorithm::Sha256, r#"{"schemaVersion":2,"manifests":[]}"#.into());
    let put = PutManifest::new(index, MediaType::parse(MediaType::OCI_INDEX).unwrap());
    let name = RepositoryName::parse(name).unwrap();
    storage.write().unwrap().put_manifest(&name, put).await.unwrap();
}
