//! Tests of collection over `MemoryStorage`: what stays, what goes, and what stops a run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod damage;
mod fuses;
mod graphs;
mod pressure;
mod rules;
mod schedule;
mod trash;

use async_trait::async_trait;
use registry_core::{
    Digest, MediaType, Registry, Tag,
    maintenance::{Clock, CollectEvent, CollectOptions, CollectReport, collect},
    service::ManifestPush,
    storage::{MemoryStorage, Page, Reclaimed, Seen, Storage},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// A clock that does not wait, and counts for how long it should have.
struct Counting {
    now: SystemTime,
    slept: AtomicU64,
}

impl Counting {
    /// Returns a clock that has stopped at this time.
    fn at(now: SystemTime) -> Self {
        Self {
            now,
            slept: AtomicU64::new(0),
        }
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::at(SystemTime::UNIX_EPOCH)
    }
}

#[async_trait]
impl Clock for Counting {
    fn now(&self) -> SystemTime {
        self.now
    }

    async fn sleep(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap();
        self.slept.fetch_add(millis, Ordering::Relaxed);
    }
}

/// Options of a run that needs no waiting, and keeps nothing that was deleted.
const fn at_once() -> CollectOptions {
    CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .empty_trash(true)
}

/// Runs, and returns the report with everything that goes, in order.
async fn run(storage: &dyn Storage, options: CollectOptions) -> (CollectReport, Vec<String>) {
    let gone = Mutex::new(Vec::new());
    let told = |event: &CollectEvent<'_>| {
        if let CollectEvent::Item {
            victim,
            result: Reclaimed::Removed { .. },
            ..
        } = event
        {
            gone.lock().unwrap().push(victim.to_string());
        }
    };
    let report = collect(storage, &options, &Counting::default(), &told)
        .await
        .unwrap();
    (report, gone.into_inner().unwrap())
}

/// Runs, and asserts that nothing stopped it.
async fn collected(storage: &dyn Storage, options: CollectOptions) -> CollectReport {
    let (report, _) = run(storage, options).await;
    assert!(report.stopped.is_none(), "{report:?}");
    report
}

/// Returns everything that is stored, one line each.
async fn dump(storage: &dyn Storage) -> Vec<String> {
    let inspect = storage.inspect().unwrap();
    let mut lines = Vec::new();
    for item in inspect.all_repositories(Page::first(1000)).await.unwrap().items {
        let name = item.key();
        lines.push(format!("repository {name}"));
        for item in inspect.manifests(name, Page::first(1000)).await.unwrap().items {
            let manifest = item.whole().unwrap();
            lines.push(format!("manifest {name}@{}", manifest.digest));
        }
        for item in inspect.held_blobs(name, Page::first(1000)).await.unwrap().items {
            lines.push(format!("link {name}@{}", item.whole().unwrap().digest));
        }
        for item in inspect.tag_targets(name, Page::first(1000)).await.unwrap().items {
            let target = item.whole().unwrap();
            lines.push(format!("tag {name}:{} {}", target.tag, target.digest));
        }
        for item in inspect.uploads(name, Page::first(1000)).await.unwrap().items {
            lines.push(format!("upload {name} {}", item.whole().unwrap().id));
        }
    }
    for item in inspect.blobs(Page::first(1000)).await.unwrap().items {
        let Seen::Whole(blob) = item else {
            panic!("{item:?}");
        };
        lines.push(format!("data {}", blob.digest));
    }
    lines.sort();
    lines
}

/// A registry in memory that tests push to.
struct Pushed {
    storage: MemoryStorage,
    registry: Registry,
}

impl Pushed {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let registry = Registry::builder(storage.clone()).build();
        Self { storage, registry }
    }

    fn repository(&self, name: &str) -> registry_core::service::Repository {
        self.registry.repository(name).unwrap()
    }

    async fn blob(&self, repository: &str, content: &str) -> Digest {
        let content = content.to_owned();
        let pushed = self.repository(repository).push_blob(content, None).await;
        pushed.unwrap().digest
    }

    /// Puts a document, by its digest or under a tag.
    async fn put(&self, repository: &str, tag: Option<&str>, document: &Value) -> Digest {
        let document = document.to_string();
        let digest = Digest::of(registry_core::Algorithm::Sha256, document.as_bytes());
        let push = match tag {
            Some(tag) => ManifestPush::new(Tag::parse(tag).unwrap(), document),
            None => ManifestPush::new(digest, document),
        };
        let pushed = self.repository(repository).put_manifest(push).await;
        pushed.unwrap().digest
    }

    async fn holds(&self, repository: &str, digest: &Digest) -> bool {
        let repository = self.repository(repository);
        let manifest = repository.manifest(*digest).await.unwrap();
        manifest.is_some() || repository.blob(digest).await.unwrap().is_some()
    }

    async fn delete(&self, repository: &str, reference: &str) {
        let repository = self.repository(repository);
        assert!(repository.delete_manifest(reference).await.unwrap());
    }
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
}

/// Returns an image of blobs with these contents. The first one is its config.
fn image(contents: &[&str]) -> Value {
    let mut blobs: Vec<Value> = contents
        .iter()
        .map(|content| {
            let digest = Digest::of(registry_core::Algorithm::Sha256, content.as_bytes());
            descriptor("application/octet-stream", &digest, content.len())
        })
        .collect();
    let config = blobs.remove(0);
    json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": blobs })
}

/// Returns an index of these documents.
fn index(documents: &[&Value]) -> Value {
    let entries: Vec<Value> = documents
        .iter()
        .map(|document| {
            let media_type = document["mediaType"].as_str().unwrap();
            let text = document.to_string();
            descriptor(
                media_type,
                &Digest::of(registry_core::Algorithm::Sha256, text.as_bytes()),
                text.len(),
            )
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries })
}

/// Adds a subject to a document.
fn referring_to(mut document: Value, subject: &Digest) -> Value {
    document["subject"] = descriptor(MediaType::OCI_MANIFEST, subject, 2);
    document
}
