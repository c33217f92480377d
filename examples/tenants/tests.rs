//! Pushes and pulls of two tenants over HTTP.

use super::{
    Tenants,
    quota::{Bill, Quota},
};
use bytes::Bytes;
use registry_client::{Client, Host, HostOptions, RemoteRepository};
use registry_conformance::faulty::{Fault, Faulty, Gate, On};
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Registry, RepositoryName, Tag, storage::MemoryStorage,
};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};

struct Service {
    tenants: Tenants,
    address: SocketAddr,
}

impl Service {
    async fn start() -> Self {
        let tenants = Tenants::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(registry_listener::serve(listener, tenants.mount().router()));
        Self { tenants, address }
    }

    /// Starts a service with one tenant that may store this number of bytes.
    async fn with(storage: &MemoryStorage, limit: u64) -> (Self, Arc<Quota>) {
        let service = Self::start().await;
        let quota = service
            .tenants
            .add("acme.example", storage.clone(), limit)
            .await
            .unwrap();
        (service, quota)
    }

    /// Returns a repository of a tenant, as a client sees it.
    fn repository(&self, host: &str, name: &str) -> RemoteRepository {
        let address = self.address;
        let options = HostOptions::new().connector(move || TcpStream::connect(address));
        let client = Client::builder()
            .without_credentials()
            .host(Host::parse(host).unwrap(), options);
        client
            .build()
            .unwrap()
            .repository(&format!("{host}/{name}"))
            .unwrap()
    }

    fn acme(&self, name: &str) -> RemoteRepository {
        self.repository("acme.example", name)
    }
}

fn layer(content: &'static str) -> (Bytes, Descriptor) {
    let bytes = Bytes::from_static(content.as_bytes());
    let media_type = MediaType::parse("application/vnd.oci.image.layer.v1.tar").unwrap();
    let descriptor = Descriptor::new(
        media_type,
        Digest::of(Algorithm::Sha256, &bytes),
        bytes.len() as u64,
    );
    (bytes, descriptor)
}

async fn push(repository: &RemoteRepository, content: &'static str) -> Result<Digest, String> {
    let (bytes, descriptor) = layer(content);
    let pushed = repository.push_blob(bytes, &descriptor).await;
    pushed
        .map(|_| descriptor.digest)
        .map_err(|error| error.to_string())
}

fn stored(quota: &Quota) -> u64 {
    quota.bill().stored
}

#[tokio::test]
async fn a_push_beyond_the_quota_is_refused_with_a_message_and_others_are_not_affected() {
    let (service, acme) = Service::with(&MemoryStorage::new(), 10).await;
    let other = service
        .tenants
        .add("other.example", MemoryStorage::new(), 10)
        .await
        .unwrap();
    push(&service.acme("team/app"), "12345678").await.unwrap();

    let refused = push(&service.acme("team/app"), "abc").await.unwrap_err();
    let accepted = push(&service.repository("other.example", "team/app"), "abc").await;

    let message =
        "the quota of acme.example is used up: this needs 1 bytes more than the 10 that are allowed";
    assert!(refused.contains(message), "{refused}");
    assert!(accepted.is_ok());
    assert_eq!((stored(&acme), stored(&other)), (8, 3));
}

#[tokio::test]
async fn a_blob_whose_size_is_known_only_at_its_end_is_refused_too() {
    let (service, quota) = Service::with(&MemoryStorage::new(), 10).await;
    let repository = service.acme("team/app");
    let mut upload = repository.upload(None).await.unwrap();
    upload.append("123456").await.unwrap();

    // Another push takes the rest of the quota meanwhile.
    push(&repository, "abcde").await.unwrap();
    let refused = upload.finish().await.unwrap_err();

    assert!(refused.to_string().contains("is used up"), "{refused}");
    assert_eq!(stored(&quota), 5);
}

#[tokio::test]
async fn pushes_at_once_do_not_exceed_the_quota_together() {
    let (service, quota) = Service::with(&MemoryStorage::new(), 10).await;
    let contents = ["1111", "2222", "3333", "4444", "5555", "6666"];
    let pushes = contents.map(|content| {
        let repository = service.acme("team/app");
        tokio::spawn(async move { push(&repository, content).await })
    });

    let mut accepted = 0;
    for push in pushes {
        accepted += u64::from(push.await.unwrap().is_ok());
    }

    assert_eq!((accepted, stored(&quota)), (2, 8));
}

#[tokio::test]
async fn content_counts_once_until_no_repository_holds_it() {
    let (service, quota) = Service::with(&MemoryStorage::new(), 10).await;
    let (first, second) = (service.acme("first"), service.acme("second"));
    let digest = push(&first, "12345678").await.unwrap();

    assert!(
        second
            .mount(&digest, &RepositoryName::parse("first").unwrap())
            .await
            .unwrap()
    );
    assert_eq!(stored(&quota), 8);

    first.delete_blob(&digest).await.unwrap();
    assert_eq!(stored(&quota), 8);
    second.delete_blob(&digest).await.unwrap();
    assert_eq!(stored(&quota), 0);
    push(&first, "abcdefghij").await.unwrap();
}

/// Pushes an image of one layer, and returns the sizes of manifest and blobs.
async fn push_image(repository: &RemoteRepository) -> (Descriptor, u64) {
    let (_, layer) = layer("layer");
    push(repository, "layer").await.unwrap();
    push(repository, "{}").await.unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::of(Algorithm::Sha256, b"{}").to_string(),
            "size": 2,
        },
        "layers": [{"mediaType": layer.media_type.as_str(), "digest": layer.digest.to_string(), "size": 5}],
    });
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let tags = [Tag::parse("v1").unwrap()];
    let put = repository
        .put_manifest(manifest.to_string(), &media_type, &tags, None)
        .await;
    (put.unwrap(), 7)
}

#[tokio::test]
async fn a_bill_has_the_bytes_of_manifests_and_blobs_that_are_stored_and_pulled() {
    let (service, quota) = Service::with(&MemoryStorage::new(), 10_000).await;
    let repository = service.acme("team/app");
    let (manifest, blobs) = push_image(&repository).await;
    quota.bill();

    repository.manifest("v1").await.unwrap();
    repository.blob(&layer("layer").1.digest, 100).await.unwrap();

    let (stored, pulled) = (manifest.size + blobs, manifest.size + 5);
    assert_eq!(quota.bill(), Bill { stored, pulled });
    repository.delete_manifest(&manifest.digest).await.unwrap();
    assert_eq!(quota.bill().stored, blobs);
}

#[tokio::test]
async fn after_a_restart_the_storage_says_what_is_stored() {
    let storage = MemoryStorage::new();
    let (service, quota) = Service::with(&storage, 10_000).await;
    push_image(&service.acme("team/app")).await;
    push_image(&service.acme("team/copy")).await;
    let before = stored(&quota);

    let (service, quota) = Service::with(&storage, before).await;

    assert_eq!(stored(&quota), before);
    assert!(push(&service.acme("team/app"), "1").await.is_err());
    push_image(&service.acme("team/third")).await;
}

#[tokio::test]
async fn a_recount_finds_what_changed_without_an_event() {
    let storage = MemoryStorage::new();
    let (service, quota) = Service::with(&storage, 10).await;
    let digest = push(&service.acme("team/app"), "12345678").await.unwrap();
    let unheard = Registry::builder(storage).build();
    unheard
        .repository("team/app")
        .unwrap()
        .delete_blob(&digest)
        .await
        .unwrap();
    assert_eq!(stored(&quota), 8);

    quota.recount(&unheard).await.unwrap();

    assert_eq!(stored(&quota), 0);
}

#[tokio::test]
async fn a_claim_to_push_content_that_is_there_admits_no_other_number_of_bytes() {
    let registry = Registry::builder(MemoryStorage::new()).hooks(Quota::new("acme", 10));
    let repository = registry.build().repository("team/app").unwrap();
    let held = repository.push_blob("12345678", None).await.unwrap().digest;

    let longer = repository.push_blob("12345678901", Some(held)).await;
    let same = repository.push_blob("12345678", Some(held)).await;

    let refused = longer.unwrap_err().to_string();
    assert!(refused.contains("is used up"), "{refused}");
    assert!(same.is_ok());
}

#[tokio::test]
async fn recounts_at_once_keep_what_is_pushed_meanwhile() {
    let storage = Faulty::new(MemoryStorage::new());
    let quota = Quota::new("acme", 100);
    let registry = Registry::builder(storage.clone())
        .hooks(Arc::clone(&quota))
        .build();
    let repository = registry.repository("team/app").unwrap();
    repository.push_blob("12345678", None).await.unwrap();
    // The blobs are listed, and the manifests are not.
    let gate = Gate::new();
    storage.inject(On::call("manifests").always(), Fault::hold(&gate));
    let recounts = [(); 2].map(|()| {
        let (quota, registry) = (Arc::clone(&quota), registry.clone());
        tokio::spawn(async move { quota.recount(&registry).await })
    });
    gate.reached(1).await;
    // On the one thread of this test, each task runs up to the gate or to the lock.
    tokio::task::yield_now().await;

    repository.push_blob("90", None).await.unwrap();
    gate.open();
    for recount in recounts {
        recount.await.unwrap().unwrap();
    }

    assert_eq!(stored(&quota), 10);
}
