//! Tests of two storages, of which only the upper one changes.

mod changes;
mod composed;
mod copies;
mod reads;

use super::FallbackStorage;
use crate::{
    Registry,
    digest::{Algorithm, Digest},
    error::{Error, ErrorCode},
    forward_storage,
    maintenance::{Clock, CollectOptions, collect},
    media_type::MediaType,
    name::RepositoryName,
    protocol::Precondition,
    reference::{Reference, Tag},
    service::{ManifestPush, Repository},
    storage::{
        BlobBody, BlobRead, Content, Deletion, MemoryStorage, Need, Needed, Page, PrefixStorage, PutManifest,
        PutOutcome, ReadBlob, ReadOnlyStorage, Referring, Result, Storage, StorageError, StorageWrite,
        StoredManifest, TagExpect, TagMove, Verified,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn repository(storage: impl Storage, text: &str) -> Repository {
    Registry::builder(storage).build().repository(name(text)).unwrap()
}

type Layers = FallbackStorage<MemoryStorage, ReadOnlyStorage<MemoryStorage>>;

/// Creates two empty storages, and one that is made of them.
fn layers() -> (MemoryStorage, MemoryStorage, Layers) {
    let (upper, lower) = (MemoryStorage::new(), MemoryStorage::new());
    let both = FallbackStorage::new(upper.clone(), ReadOnlyStorage::new(lower.clone()));
    (upper, lower, both)
}

async fn push(storage: impl Storage, text: &str, bytes: &str) -> Digest {
    let repository = repository(storage, text);
    let blob = repository.push_blob(bytes.to_owned(), None).await.unwrap();
    blob.digest
}

fn descriptor(media_type: &str, content: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#,
        content.len()
    )
}

/// Returns an image of one layer, whose config is the same text.
fn image(layer: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        descriptor("application/vnd.oci.image.config.v1+json", layer),
        descriptor("application/vnd.oci.image.layer.v1.tar", layer),
    )
}

/// Returns an index of manifests.
fn index(manifests: &[&str]) -> String {
    let of = |manifest: &&str| {
        let media_type = match manifest.contains("config") {
            true => MediaType::OCI_MANIFEST,
            false => MediaType::OCI_INDEX,
        };
        descriptor(media_type, manifest)
    };
    let entries: Vec<_> = manifests.iter().map(of).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        entries.join(",")
    )
}

/// Returns a referrer without content of its own.
fn referrer(number: usize, subject: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/x.{number}","manifests":[],"subject":{}}}"#,
        MediaType::OCI_INDEX,
        descriptor(MediaType::OCI_MANIFEST, subject)
    )
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

async fn put(storage: impl Storage, text: &str, reference: impl Into<Reference>, manifest: &str) {
    let push = ManifestPush::new(reference, manifest.to_owned());
    repository(storage, text).put_manifest(push).await.unwrap();
}

/// Pushes an image with its blob.
async fn push_image(storage: impl Storage + Clone, text: &str, reference: &str, layer: &str) -> Digest {
    push(storage.clone(), text, layer).await;
    put(storage, text, tag(reference), &image(layer)).await;
    digest(&image(layer))
}

async fn resolve(storage: &dyn Storage, text: &str, reference: &str) -> Option<Digest> {
    let found = storage
        .manifest(&name(text), &tag(reference).into())
        .await
        .unwrap();
    found.map(|found| found.digest)
}

/// Fails every call.
#[derive(Clone, Debug, Default)]
struct Outage(MemoryStorage);

impl Outage {
    async fn fail<T: Send>(&self, _: &'static str, _: impl Future<Output = Result<T>> + Send) -> Result<T> {
        Err(StorageError::internal("the disk is gone"))
    }
}

impl Storage for Outage {
    forward_storage! { Storage: self => &self.0; around fail }
}
