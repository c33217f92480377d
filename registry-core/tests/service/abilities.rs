//! Tests that the service relies on no ability that the storage does not declare.

use crate::{digest, filled, send, wrapped::Wrapped};
use async_trait::async_trait;
use http::{Method, StatusCode};
use registry_core::{
    Digest, Registry, RepositoryName, Storage, StorageWrite, forward_storage,
    storage::{
        Abilities, Listing, MemoryStorage, Page, Result, StorageCollect, StorageExpire, StorageHealth,
        StorageInspect, StorageRepair, StorageTrash,
    },
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Storage that declares these abilities, and counts how often it is asked for holders.
#[derive(Debug)]
struct Declaring {
    storage: MemoryStorage,
    abilities: Abilities,
    asked: AtomicUsize,
}

impl Declaring {
    async fn registry(abilities: Abilities) -> (Registry, std::sync::Arc<Self>) {
        let storage = MemoryStorage::new();
        filled(&storage, &["source"]).await;
        let declaring = std::sync::Arc::new(Self {
            storage,
            abilities,
            asked: AtomicUsize::new(0),
        });
        let registry = Registry::builder(std::sync::Arc::clone(&declaring));
        (registry.allow_anonymous_push().build(), declaring)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Declaring {
    forward_storage! { Storage: self => &self.storage; except abilities, holders }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.storage.holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.storage.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        None
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        None
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        None
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        None
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        None
    }
}

#[tokio::test]
async fn a_mount_without_a_source_asks_for_holders_only_where_they_are_known() {
    let mount = format!("/v2/target/blobs/uploads/?mount={}", digest());
    for (known, status, asked) in [(true, StatusCode::CREATED, 1), (false, StatusCode::ACCEPTED, 0)] {
        let (registry, storage) = Declaring::registry(Abilities::none().with_holders(known)).await;

        let answer = send(&registry, None, Method::POST, &mount, "").await;

        assert_eq!(answer.status, status);
        assert_eq!(storage.asked.load(Ordering::Relaxed), asked);
    }
}

#[tokio::test]
async fn the_least_size_of_chunks_is_announced_when_a_session_is_opened() {
    for least in [None, Some(5 << 20)] {
        let (registry, _) = Declaring::registry(Abilities::none().with_min_chunk(least)).await;

        let answer = send(&registry, None, Method::POST, "/v2/target/blobs/uploads/", "").await;

        let announced = answer.headers.get("oci-chunk-min-length");
        let announced = announced.map(|length| length.to_str().unwrap().parse().unwrap());
        assert_eq!(announced, least);
    }
}

#[tokio::test]
async fn a_redirect_is_allowed_only_where_the_storage_can_make_one() {
    for redirects in [true, false] {
        let storage = MemoryStorage::new();
        filled(&storage, &["a"]).await;
        let observing = Wrapped::new(storage, move |how, opened| {
            assert_eq!(how.allow_redirect, redirects);
            opened
        });
        let registry =
            Registry::builder(observing.declaring(Abilities::none().with_redirects(redirects))).build();

        let target = format!("/v2/a/blobs/{}", digest());
        let answer = send(&registry, None, Method::GET, &target, "").await;

        assert_eq!(answer.status, StatusCode::OK);
    }
}
