//! Races of a client with a collection that removes at once: those in which other registries lose content.
//!
//! In each round a client pushes an image, and a collection removes what it consists of. A pause point decides who is
//! first. The push is acknowledged in the end, and then the image is whole.

use super::*;
use crate::pauses::Point;
use registry_core::{Error, Registry, maintenance::CollectEvent, service::ManifestPush};
use std::{
    future::Future,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};
use tokio::runtime::Handle;

/// Number of rounds of each race.
const ROUNDS: usize = 1000;

/// Time at which one of both does its part.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The client does, after the collection has looked at everything for the first time.
    Marked,
    /// The client does, when the collection comes to a point after having passed there so often.
    Collecting(Point, usize),
    /// The collection does, as far as it can, when the client comes to a point.
    Pushing(Point),
    /// Both do, at the same time.
    Any,
}

/// Result of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The client had to upload nothing, or nothing again.
    Kept,
    /// The collection was first.
    Removed,
}

/// An image of one blob, which is also its configuration.
struct Image {
    blob: Bytes,
    blob_digest: Digest,
    manifest: Bytes,
    digest: Digest,
}

impl Image {
    fn new() -> Self {
        let blob = support::content(100);
        let blob_digest = Digest::of(Algorithm::Sha256, &blob);
        let descriptor = format!(
            r#"{{"mediaType":"application/octet-stream","digest":"{blob_digest}","size":{}}}"#,
            blob.len()
        );
        let media_type = MediaType::OCI_MANIFEST;
        let manifest: Bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{descriptor},"layers":[{descriptor}]}}"#
        )
        .into();
        Self {
            digest: Digest::of(Algorithm::Sha256, &manifest),
            blob,
            blob_digest,
            manifest,
        }
    }
}

/// A directory, and a client that pushes an image to one of its repositories.
#[derive(Clone)]
struct Desk {
    root: Arc<TempDir>,
    storage: FsStorage,
    registry: Registry,
    image: Arc<Image>,
    repository: &'static str,
}

impl Desk {
    fn new(image: &Arc<Image>) -> Self {
        let root = scratch();
        let storage = relaxed(root.path());
        Self {
            registry: Registry::builder(storage.clone()).build(),
            root: Arc::new(root),
            storage,
            image: Arc::clone(image),
            repository: "a",
        }
    }

    fn repository(&self) -> registry_core::service::Repository {
        self.registry.repository(self.repository).unwrap()
    }

    async fn upload(&self) {
        let blob = self.image.blob.clone();
        self.repository().push_blob(blob, None).await.unwrap();
    }

    /// Puts the manifest under the tag. Returns false if something that it needs is missing.
    async fn put(&self) -> bool {
        let push = ManifestPush::new(tag("v1"), self.image.manifest.clone());
        match self.repository().put_manifest(push).await {
            Ok(_) => true,
            Err(Error::MissingReferences(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn has_blob(&self) -> bool {
        let found = self.repository().blob(&self.image.blob_digest).await;
        found.unwrap().is_some()
    }

    /// Pushes the image as clients do: uploads what the registry lacks, and begins again if something is missing.
    async fn push(&self) -> Outcome {
        let mut outcome = Outcome::Kept;
        for _ in 0..3 {
            if !self.has_blob().await {
                outcome = Outcome::Removed;
                self.upload().await;
            }
            if self.put().await {
                return outcome;
            }
            outcome = Outcome::Removed;
        }
        panic!("one collection has prevented three tries");
    }

    async fn delete(&self) {
        let deleted = self.repository().delete_manifest(self.image.digest).await;
        assert!(deleted.unwrap());
    }

    /// Removes what no tag refers to, and calls `marked` before that.
    async fn collect(&self, marked: impl FnOnce() + Send) {
        let marked = Mutex::new(Some(marked));
        let told = |event: &CollectEvent<'_>| {
            if let CollectEvent::Repository { .. } = event
                && let Some(marked) = marked.lock().unwrap().take()
            {
                marked();
            }
        };
        let report = support::collections::collect_all(&self.registry, &told)
            .await
            .unwrap();
        assert!(report.stopped.is_none(), "{report:?}");
    }

    /// Runs a collection, and a step of the client at this moment of it. Returns the result of the step.
    async fn race<S>(&self, moment: Moment, step: S) -> S::Output
    where
        S: Future<Output: Send + 'static> + Send + 'static,
    {
        let collection = {
            let desk = self.clone();
            async move { desk.collect(|| {}).await }
        };
        match moment {
            Moment::Marked => {
                let other = Other::new(&self.storage, step);
                let started = other.started();
                self.collect(move || other.start()).await;
                joined(&started).await
            }
            Moment::Collecting(point, passes) => {
                let other = Other::new(&self.storage, step);
                let started = other.started();
                self.storage
                    .store()
                    .pauses
                    .after(point, passes, move || other.start());
                self.collect(|| {}).await;
                joined(&started).await
            }
            Moment::Pushing(point) => {
                let other = Other::new(&self.storage, collection);
                let started = other.started();
                self.storage.store().pauses.at(point, move || other.start());
                let result = step.await;
                joined(&started).await;
                result
            }
            Moment::Any => {
                let runtime = Handle::current();
                let thread = thread::spawn(move || runtime.block_on(step));
                self.collect(|| {}).await;
                joined(&Arc::new(Mutex::new(Some(thread)))).await
            }
        }
    }

    /// Asserts that the image is whole.
    async fn check(&self, when: &str) {
        let repository = self.repository();
        let found = repository.manifest("v1").await.unwrap();
        assert_eq!(
            found.map(|found| found.bytes),
            Some(self.image.manifest.clone()),
            "{when}"
        );
        let read = repository.read_blob(&self.image.blob_digest, 1000).await.unwrap();
        assert_eq!(read, Some(self.image.blob.clone()), "{when}");
    }

    /// Asserts that the image is stored, and nothing else, apart from the tag.
    fn check_files(&self, when: &str) {
        let (root, image) = (self.root.path(), &self.image);
        let repository = name(self.repository);
        let mut expected = [
            support::blob_data(root, &image.blob_digest),
            support::blob_data(root, &image.digest),
            support::layer_link(root, &repository, &image.blob_digest),
            support::revision_link(root, &repository, &image.digest),
        ]
        .map(|path| path.strip_prefix(support::top(root)).unwrap().to_owned());
        expected.sort();
        let mut left: Vec<_> = files(root).into_iter().map(std::path::PathBuf::from).collect();
        left.retain(|path| !path.to_string_lossy().contains("/tags/"));
        left.sort();
        assert_eq!(left, expected, "{when}");
    }
}

type Started<T> = Arc<Mutex<Option<JoinHandle<T>>>>;

/// Work of the other side, which waits for its moment.
struct Other<S: Future> {
    storage: FsStorage,
    runtime: Handle,
    work: S,
    started: Started<S::Output>,
}

impl<S> Other<S>
where
    S: Future<Output: Send + 'static> + Send + 'static,
{
    fn new(storage: &FsStorage, work: S) -> Self {
        Self {
            storage: storage.clone(),
            runtime: Handle::current(),
            work,
            started: Arc::default(),
        }
    }

    fn started(&self) -> Started<S::Output> {
        Arc::clone(&self.started)
    }

    /// Works until the end, or until it has to wait for the side that calls this.
    fn start(self) {
        let store = self.storage.shared_store();
        let thread = thread::spawn(move || self.runtime.block_on(self.work));
        while !thread.is_finished() && !store.is_waited_for() {
            thread::yield_now();
        }
        *self.started.lock().unwrap() = Some(thread);
    }
}

/// Returns the result of work that has been started.
async fn joined<T: Send + 'static>(started: &Started<T>) -> T {
    let thread = started.lock().unwrap().take();
    let thread = thread.expect("the other side has come to the point");
    let joined = tokio::task::spawn_blocking(move || thread.join());
    joined.await.unwrap().unwrap()
}

/// Runs all rounds of a race. Asserts that no round loses or leaks anything, and that each outcome has a quarter of them.
async fn rounds(moments: [Moment; 4], round: impl AsyncFn(&mut Desk, usize, Moment) -> Outcome) {
    let image = Arc::new(Image::new());
    let mut kept = 0;
    for number in 0..ROUNDS {
        let mut desk = Desk::new(&image);
        let moment = moments[number % moments.len()];
        let outcome = round(&mut desk, number, moment).await;
        kept += usize::from(outcome == Outcome::Kept);
        let when = format!("in round {number}, {outcome:?} at {moment:?}");
        desk.check(&when).await;
        desk.collect(|| {}).await;
        desk.check(&when).await;
        desk.check_files(&when);
    }
    let removed = ROUNDS - kept;
    assert!(
        kept >= ROUNDS / 4 && removed >= ROUNDS / 4,
        "kept {kept}, removed {removed}"
    );
}

const REMOVED_FIRST: Moment = Moment::Collecting(Point::ReclaimRemoved, 0);
const LOCKED_FIRST: Moment = Moment::Collecting(Point::ReclaimLocked, 0);

/// Registry:2 acknowledges the manifest, and serves no byte of the blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_uploaded_and_collected_before_its_manifest() {
    let moments = [
        Moment::Marked,
        LOCKED_FIRST,
        Moment::Pushing(Point::PutManifestPromised),
        Moment::Any,
    ];
    rounds(moments, async |desk, _, moment| {
        desk.upload().await;
        let client = desk.clone();
        if desk.race(moment, async move { client.put().await }).await {
            return Outcome::Kept;
        }
        desk.push().await
    })
    .await;
}

/// A client is told that a blob exists, and does not upload it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_found_or_mounted_and_collected_before_its_manifest() {
    let moments = [Moment::Marked, LOCKED_FIRST, REMOVED_FIRST, Moment::Any];
    rounds(moments, async |desk, number, moment| {
        desk.push().await;
        desk.delete().await;
        let (client, digest) = (desk.clone(), desk.image.blob_digest);
        let is_found = if (number / moments.len()).is_multiple_of(2) {
            desk.race(moment, async move { client.has_blob().await }).await
        } else {
            let source = name(desk.repository);
            desk.repository = "b";
            let client = desk.repository();
            let mounted = async move { client.mount(&digest, Some(&source)).await.unwrap() };
            desk.race(moment, mounted).await.is_some()
        };
        if is_found && desk.put().await {
            return Outcome::Kept;
        }
        let in_run = !matches!(moment, Moment::Any);
        assert!(!(is_found && in_run), "what a run has promised stays: {moment:?}");
        desk.push().await;
        Outcome::Removed
    })
    .await;
}

/// The image has no tag when the collection looks, and then it has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_moves_to_an_image_that_is_being_collected() {
    let moments = [
        Moment::Marked,
        Moment::Collecting(Point::ReclaimRemoved, 1),
        REMOVED_FIRST,
        Moment::Any,
    ];
    rounds(moments, async |desk, _, moment| {
        desk.push().await;
        let other = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
            MediaType::OCI_INDEX
        );
        let push = ManifestPush::new(tag("v1"), other);
        desk.repository().put_manifest(push).await.unwrap();
        let client = desk.clone();
        if desk.race(moment, async move { client.put().await }).await {
            return Outcome::Kept;
        }
        desk.push().await
    })
    .await;
}

/// Registry:2 acknowledges the second push from its cache, and the image cannot be pulled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_deleted_and_pushed_again() {
    let moments = [Moment::Marked, LOCKED_FIRST, REMOVED_FIRST, Moment::Any];
    rounds(moments, async |desk, number, moment| {
        desk.push().await;
        let client = desk.clone();
        // Half of the first rounds, and the last ones, delete while the collection runs.
        let during = match moment {
            Moment::Marked => (number / moments.len()).is_multiple_of(2),
            Moment::Any => true,
            _ => false,
        };
        if !during {
            desk.delete().await;
        }
        let step = async move {
            if during {
                client.delete().await;
            }
            client.push().await
        };
        desk.race(moment, step).await
    })
    .await;
}
