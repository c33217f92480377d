//! All pairs of two operations: the second one happens at each point of the first one at which that can be stopped.
//!
//! If the second operation has to wait for the first one, that goes on. Then both end, and the promises hold, whoever
//! was first.

use super::*;
use crate::pauses::Point;
use registry_core::storage::{Mount, StorageError, TagExpect};
use std::{
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};
use tokio::runtime::Handle;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    HeadBlob,
    HeadChild,
    Mount,
    Commit,
    PutChild,
    PutIndex,
    Retag,
    DeleteTag,
    DeleteIndex,
    DeleteChild,
    DeleteBlob,
    Collect,
}

use Operation::{
    Collect, Commit, DeleteBlob, DeleteChild, DeleteIndex, DeleteTag, HeadBlob, HeadChild,
    Mount as MountBlob, PutChild, PutIndex, Retag,
};

const OPERATIONS: [Operation; 12] = [
    HeadBlob,
    HeadChild,
    MountBlob,
    Commit,
    PutChild,
    PutIndex,
    Retag,
    DeleteTag,
    DeleteIndex,
    DeleteChild,
    DeleteBlob,
    Collect,
];

/// The points at which an operation is stopped, and how often it passes there before.
const POINTS: [(Point, usize); 20] = [
    (Point::BlobPromised, 0),
    (Point::ManifestPromised, 0),
    (Point::MountLinked, 0),
    (Point::CommitClaimed, 0),
    (Point::CommitDataPublished, 0),
    (Point::CommitLinked, 0),
    (Point::PutManifestPromised, 0),
    (Point::PutManifestEntryAdded, 0),
    (Point::PutManifestLinked, 0),
    (Point::TagMoved, 0),
    (Point::DeleteManifestLocked, 0),
    (Point::DeleteManifestLinkRemoved, 0),
    (Point::ReclaimLocked, 0),
    (Point::ReclaimLocked, 1),
    (Point::ReclaimLocked, 2),
    (Point::ReclaimLocked, 3),
    (Point::ReclaimRemoved, 0),
    (Point::ReclaimRemoved, 1),
    (Point::ReclaimRemoved, 2),
    (Point::ReclaimRemoved, 3),
];

/// An index of one image of one blob, and another image of it.
struct Content {
    layer: Bytes,
    blob: Needed,
    child: Verified<Bytes>,
    index: Verified<Bytes>,
    other: Verified<Bytes>,
}

impl Content {
    fn new() -> Self {
        let layer = support::content(100);
        let blob = blob(&layer);
        let first = image(&[blob], "child");
        Self {
            index: index(&[child(&first)], "index"),
            other: image(&[blob], "other"),
            child: first,
            blob,
            layer,
        }
    }

    /// Performs an operation. Returns true if it was acknowledged, and found what it looked for.
    async fn perform(&self, storage: &FsStorage, operation: Operation) -> bool {
        let (a, write) = (name("a"), writer(storage));
        match operation {
            HeadBlob => storage.blob(&a, &self.blob.digest).await.unwrap().is_some(),
            HeadChild => {
                let child = (*self.child.digest()).into();
                storage.manifest(&a, &child).await.unwrap().is_some()
            }
            MountBlob => {
                let mount = Mount::new(&a, &self.blob.digest);
                write.mount(&name("b"), mount).await.unwrap().is_some()
            }
            Commit => {
                push(storage, &a, &self.layer).await;
                true
            }
            PutChild => is_put(put(storage, &a, &self.child, &[self.blob], &[]).await),
            PutIndex => is_put(put(storage, &a, &self.index, &[child(&self.child)], &["v1"]).await),
            Retag => is_put(put(storage, &a, &self.other, &[self.blob], &["v1"]).await),
            DeleteTag => {
                let deleted = write
                    .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
                    .await;
                deleted.unwrap().is_some()
            }
            DeleteIndex | DeleteChild => {
                let digest = match operation {
                    DeleteIndex => self.index.digest(),
                    _ => self.child.digest(),
                };
                let deleted = write.delete_manifest(&a, digest, Deletion::new()).await;
                deleted.unwrap().is_some()
            }
            DeleteBlob => {
                let deleted = write.delete_blob(&a, &self.blob.digest, Deletion::new()).await;
                deleted.unwrap()
            }
            Collect => match storage.begin(Terms::new()).await {
                Ok(run) => {
                    sweep(storage, &run).await;
                    storage.end(run, Census::new(0)).await.unwrap();
                    true
                }
                Err(StorageError::Busy { .. }) => false,
                Err(error) => panic!("{error}"),
            },
        }
    }

    async fn has(&self, storage: &FsStorage, manifest: &Verified<Bytes>) -> bool {
        let digest = (*manifest.digest()).into();
        storage.manifest(&name("a"), &digest).await.unwrap().is_some()
    }

    async fn has_blob(&self, storage: &FsStorage, repository: &str) -> bool {
        let found = support::read(storage, &name(repository), &self.blob.digest).await;
        found.as_ref() == Some(&self.layer)
    }

    /// Asserts what holds after two operations, of which the first one was stopped for the second one.
    async fn check(&self, storage: &FsStorage, both: [(Operation, bool); 2], when: &str) {
        let [(first, first_done), (second, second_done)] = both;
        // An image whose own deletion was asked for is nobody's, and so is one of whose blob.
        if ![DeleteChild, DeleteBlob]
            .iter()
            .any(|deletion| [first, second].contains(deletion))
        {
            assert_tags_are_whole(storage, when).await;
        }
        let target = storage.manifest(&name("a"), &tag("v1").into()).await.unwrap();
        let target = target.map(|found| found.digest);
        for (operation, done, other) in [(first, first_done, second), (second, second_done, first)] {
            let moves_tags = [PutIndex, Retag, DeleteTag, DeleteIndex].contains(&other);
            match operation {
                PutIndex if done && !moves_tags => assert_eq!(target, Some(*self.index.digest()), "{when}"),
                Retag if done && !moves_tags => assert_eq!(target, Some(*self.other.digest()), "{when}"),
                DeleteIndex if done && other != PutIndex => {
                    assert!(!self.has(storage, &self.index).await, "{when}");
                }
                DeleteChild if done && other != PutChild => {
                    assert!(!self.has(storage, &self.child).await, "{when}");
                }
                _ => {}
            }
        }
        // What was promised since the run began is not removed by it.
        if first == Collect && second_done {
            match second {
                HeadBlob | Commit => assert!(self.has_blob(storage, "a").await, "{when}"),
                MountBlob => assert!(self.has_blob(storage, "b").await, "{when}"),
                HeadChild | PutChild => {
                    assert!(self.has(storage, &self.child).await, "{when}");
                    assert!(self.has_blob(storage, "a").await, "{when}");
                }
                _ => {}
            }
        }
    }
}

/// Returns true if a put was acknowledged; false if something that it needs is missing.
fn is_put(put: Result<PutOutcome>) -> bool {
    match put {
        Ok(outcome) => outcome.failed.is_none(),
        Err(StorageError::MissingReferences(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Performs both operations. Returns the results, or `None` if the first one does not come to the point.
async fn perform_both(
    storage: &FsStorage,
    content: &Arc<Content>,
    [first, second]: [Operation; 2],
    (point, passes): (Point, usize),
) -> Option<[(Operation, bool); 2]> {
    let other: Arc<Mutex<Option<JoinHandle<bool>>>> = Arc::default();
    let (running, runtime) = (Arc::clone(&other), Handle::current());
    let (handle, shared) = (storage.clone(), Arc::clone(content));
    let act = move || {
        let store = handle.shared_store();
        let thread = thread::spawn(move || runtime.block_on(shared.perform(&handle, second)));
        // Until it has ended, or waits for the first one.
        while !thread.is_finished() && !store.is_waited_for() {
            thread::yield_now();
        }
        *running.lock().unwrap() = Some(thread);
    };
    storage.store().pauses.after(point, passes, act);
    let first_done = content.perform(storage, first).await;
    let thread = other.lock().unwrap().take()?;
    let second_done = tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
    Some([(first, first_done), (second, second_done)])
}

/// Asserts that a collection leaves what the tags refer to, and nothing else.
async fn assert_no_leak(root: &Path, storage: &FsStorage, when: &str) {
    collect(storage).await;
    let stored = Stored::read(storage).await;
    for key in stored.manifests.keys() {
        assert!(
            stored.tagged.contains(key) || stored.is_named(&key.0, &key.1),
            "{key:?} is left {when}"
        );
    }
    for (repository, digest) in stored.links.keys() {
        assert!(stored.is_named(repository, digest), "{digest} is left {when}");
    }
    let left = files(root);
    let (links, revisions) = (stored.links.len(), stored.manifests.len());
    let of_tags = left.iter().filter(|file| file.contains("/tags/")).count();
    assert_eq!(
        left.len(),
        stored.data.len() + links + revisions + of_tags,
        "{left:?} {when}"
    );
}

async fn all_pairs(is_tagged: bool, reached: &mut BTreeSet<(Point, usize)>) {
    let content = Arc::new(Content::new());
    for first in OPERATIONS {
        for second in OPERATIONS {
            for point in POINTS {
                let root = scratch();
                let storage = relaxed(root.path());
                content.perform(&storage, Commit).await;
                content.perform(&storage, PutChild).await;
                if is_tagged {
                    content.perform(&storage, PutIndex).await;
                }
                let Some(both) = perform_both(&storage, &content, [first, second], point).await else {
                    continue;
                };
                reached.insert(point);
                let when = format!("after {both:?}, the second one at {point:?}");
                content.check(&storage, both, &when).await;
                assert_no_leak(root.path(), &storage, &when).await;
                assert_eq!(*content.layer, *support::content(100));
            }
        }
    }
}

#[tokio::test]
async fn promises_hold_whichever_operation_comes_at_whichever_point_of_another() {
    let mut reached = BTreeSet::new();
    all_pairs(true, &mut reached).await;
    all_pairs(false, &mut reached).await;
    let missed: Vec<_> = POINTS.iter().filter(|point| !reached.contains(*point)).collect();
    assert!(missed.is_empty(), "no operation comes to {missed:?}");
}

/// Otherwise it could remember the directory of the link as durable after the collection has removed it.
#[tokio::test]
async fn the_deletion_of_a_blob_waits_for_a_collection_that_removes_its_link() {
    let root = scratch();
    let storage = relaxed(root.path());
    let content = Arc::new(Content::new());
    content.perform(&storage, Commit).await;

    let both = perform_both(
        &storage,
        &content,
        [Collect, DeleteBlob],
        (Point::ReclaimLocked, 0),
    )
    .await;

    // It finds no link any more.
    assert_eq!(both, Some([(Collect, true), (DeleteBlob, false)]));
}
