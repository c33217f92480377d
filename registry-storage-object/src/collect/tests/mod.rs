//! Collections that stop, that are taken over, and that run beside replicas which do not know them yet.

mod replicas;
mod stopping;
mod stops;

pub(crate) use self::stops::Stops;
use crate::{
    bucket::{Bucket, Clients, Dialect, LARGEST_COPY, Observed},
    gate::{Gate, Reach, Times},
    options::ObjectOptions,
    process::Processes,
    rung::Rung,
    storage::ObjectStorage,
    store::Store,
};
use async_trait::async_trait;
use object_store::memory::InMemory;
use registry_core::{
    Digest, Registry, Repository, Tag,
    maintenance::{Clock, CollectOptions, CollectReport, collect},
    service::ManifestPush,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns a bucket in memory, as a process of its own would see it.
pub(crate) fn bucket(memory: &Arc<InMemory>, stops: &Stops) -> Bucket {
    Bucket::new(clients(memory, stops), "")
}

pub(crate) fn clients(memory: &Arc<InMemory>, stops: &Stops) -> Clients {
    Clients {
        dialect: Dialect::Memory,
        objects: Arc::new(stops.around(memory)),
        parts: Arc::clone(memory) as _,
        pages: None,
        signer: None,
        observed: Arc::new(Observed::default()),
        largest_copy: LARGEST_COPY,
        one: Arc::default(),
    }
}

/// Opens a bucket as a process of its own would.
pub(crate) fn open(memory: &Arc<InMemory>, stops: &Stops, reach: Reach) -> ObjectStorage {
    let process = Processes::default().of("");
    let mut store = Store::new(
        bucket(memory, stops),
        Arc::clone(&process),
        ObjectOptions::new(),
        None,
        None,
    );
    store.rung = Rung::Conditional;
    store.gate = Gate::new(
        process,
        Rung::Conditional,
        reach,
        Times::usual(Duration::from_secs(60)),
    );
    ObjectStorage {
        store: Arc::new(store),
    }
}

fn repository(storage: &ObjectStorage) -> Repository {
    let registry = Registry::builder(storage.clone()).build();
    registry.repository("team/app").unwrap()
}

/// A tagged image, an untagged index with an image of its own, and a blob that nothing names.
struct Content {
    kept: (Digest, Digest),
    blob: Digest,
    child: (Digest, String),
    index: (Digest, String),
}

impl Content {
    async fn push(storage: &ObjectStorage) -> Self {
        let repository = repository(storage);
        let layer = repository.push_blob("kept", None).await.unwrap().digest;
        let kept = put(&repository, Some("kept"), &image(&layer, 4)).await.unwrap();
        repository.push_blob("nothing names it", None).await.unwrap();
        let blob = repository.push_blob("garbage", None).await.unwrap().digest;
        let child = image(&blob, 7);
        let child = (put(&repository, None, &child).await.unwrap(), child);
        let index = index(&child.0, child.1.len());
        let index = (put(&repository, None, &index).await.unwrap(), index);
        Self {
            kept: (kept, layer),
            blob,
            child,
            index,
        }
    }

    /// Asserts that everything tagged is whole.
    async fn assert_kept(&self, storage: &ObjectStorage, context: &str) {
        let repository = repository(storage);
        let (manifest, layer) = self.kept;
        assert!(has(&repository, &manifest).await, "{context}");
        assert!(
            repository.blob(&layer).await.unwrap().is_some(),
            "{context}: the layer"
        );
    }

    /// Returns true for each of the index, its image and the blob of that, if it is there.
    async fn left(&self, storage: &ObjectStorage) -> [bool; 3] {
        let repository = repository(storage);
        let blob = repository.blob(&self.blob).await.unwrap().is_some();
        [
            has(&repository, &self.index.0).await,
            has(&repository, &self.child.0).await,
            blob,
        ]
    }
}

async fn has(repository: &Repository, manifest: &Digest) -> bool {
    repository.manifest(*manifest).await.unwrap().is_some()
}

fn image(layer: &Digest, size: usize) -> String {
    let descriptor =
        format!(r#"{{"mediaType":"application/octet-stream","digest":"{layer}","size":{size}}}"#);
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{descriptor},"layers":[{descriptor}]}}"#)
}

fn index(child: &Digest, size: usize) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{child}","size":{size}}}]}}"#
    )
}

async fn put(
    repository: &Repository,
    tag: Option<&str>,
    document: &str,
) -> Result<Digest, registry_core::Error> {
    let digest = Digest::of(registry_core::Algorithm::Sha256, document.as_bytes());
    let push = match tag {
        Some(tag) => ManifestPush::new(Tag::parse(tag).unwrap(), document.to_owned()),
        None => ManifestPush::new(digest, document.to_owned()),
    };
    repository.put_manifest(push).await.map(|pushed| pushed.digest)
}

/// A clock of the runtime.
struct Host;

#[async_trait]
impl Clock for Host {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn options() -> CollectOptions {
    let options = CollectOptions::new().untagged(true).empty_trash(true);
    options.grace(Duration::ZERO).uploading(Duration::ZERO)
}

async fn run(storage: &ObjectStorage, clock: &dyn Clock) -> CollectReport {
    let report = collect(storage, &options(), clock, &|_| {}).await.unwrap();
    assert!(report.stopped.is_none(), "{:?}", report.stopped);
    report
}
