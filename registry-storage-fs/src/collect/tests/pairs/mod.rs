//! All pairs of two operations: the second one happens at each point of the first one at which that can be stopped.
//!
//! If the second operation has to wait for the first one, that goes on. Then both end, and the promises hold, whoever
//! was first. The points are those that the first operation passes when nothing happens beside it.

mod operations;

use self::operations::{
    Content, OPERATIONS,
    Operation::{self, *},
    Site,
};
use super::*;
use crate::pauses::Point;
use registry_core::storage::StorageTrash as _;
use std::{
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};
use tokio::runtime::Handle;

/// Points at which no operation is stopped, with the reason.
const LEFT_OUT: [(Point, &str); 16] = [
    (Point::AppendWritten, "concerns the bytes of one session"),
    (Point::HistoryForgotten, "no answer depends on a history"),
    (Point::HistoryShortened, "no answer depends on a history"),
    (Point::ManifestInMemory, "between two reads"),
    (
        Point::ManifestScanRead,
        "the build of an index, for which others wait without a lock",
    ),
    (Point::MendLinkStaged, "writes a link that is its own content"),
    (Point::MendLinkWritten, "writes a link that is its own content"),
    (Point::QuarantinedItemRemoved, "of what counts as absent"),
    (
        Point::ReclaimRepositoryPartRemoved,
        "in a repository of which nothing is left, not even a record",
    ),
    (
        Point::ReferrerIndexManifestsRead,
        "the build of an index, for which others wait without a lock",
    ),
    (Point::SessionRecordsListed, "at the opening"),
    (
        Point::TagIndexBegun,
        "the build of an index, for which others wait without a lock",
    ),
    (
        Point::TagIndexRead,
        "the build of an index, for which others wait without a lock",
    ),
    (
        Point::TagTargetAdded,
        "no answer depends on the history of registry:2",
    ),
    (Point::UploadEnded, "concerns one session"),
    (Point::UploadStaged, "concerns one session"),
];

/// Maximum number of passes of one point at which an operation is stopped. A collection passes some for each item.
const PASSES: usize = 8;

/// Content before the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The index has a tag.
    Tagged,
    /// The index does not exist, and its child has no tag.
    Untagged,
    /// The index was deleted with its tag, which can be undone.
    Deleted,
    /// The index has a tag, and the blob is damaged.
    Damaged,
}

use Start::{Damaged, Deleted, Tagged, Untagged};

impl Start {
    async fn prepare(self, root: &Path, content: &Arc<Content>, both: [Operation; 2]) -> Site {
        let mut site = Site {
            storage: relaxed(root),
            content: Arc::clone(content),
            session: None,
            may_be_gone: both.iter().any(|one| one.breaks_images() || *one == Forget),
        };
        site.perform(Commit).await;
        site.perform(PutChild).await;
        if self != Untagged {
            site.perform(PutIndex).await;
        }
        if self == Deleted {
            site.perform(DeleteIndex).await;
        }
        if both.contains(&ResumeCommit) {
            site.interrupt_commit().await;
        }
        if self == Damaged {
            site.damage();
        }
        site
    }

    /// Returns true if two operations are tried on this content.
    fn concerns(self, both: [Operation; 2]) -> bool {
        match self {
            Tagged | Untagged => !both.contains(&Restore) && !both.contains(&Quarantine),
            Deleted => both.contains(&Restore) || both.contains(&Forget),
            Damaged => both.contains(&Quarantine),
        }
    }
}

/// Asserts what holds after two operations, of which the first one was stopped for the second one.
async fn check(site: &Site, both: [(Operation, bool); 2], when: &str) {
    let Site { storage, content, .. } = site;
    let [(first, first_done), (second, second_done)] = both;
    // An image of which a request deletes a part, or whose blob is damaged, is nobody's.
    if !first.breaks_images() && !second.breaks_images() {
        assert_tags_are_whole(storage, when).await;
        assert_records_are_whole(site, when).await;
    }
    let target = storage.manifest(&name("a"), &tag("v1").into()).await.unwrap();
    let target = target.map(|found| found.digest);
    for (operation, done, other) in [(first, first_done, second), (second, second_done, first)] {
        if !done {
            // The other one ends the session, or takes its data, which is damaged.
            let may_fail = [ResumeCommit, Quarantine].contains(&other);
            assert!(operation != ResumeCommit || may_fail, "{when}");
            continue;
        }
        match operation {
            PutIndex | Restore if !other.moves_tag() => {
                assert_eq!(target, Some(*content.index.digest()), "{when}");
            }
            Retag if !other.moves_tag() => assert_eq!(target, Some(*content.other.digest()), "{when}"),
            Retain | DeleteTag if !other.moves_tag() => assert_eq!(target, None, "{when}"),
            DeleteIndex if ![PutIndex, Restore].contains(&other) => {
                assert!(!content.has(storage, &content.index).await, "{when}");
            }
            DeleteChild if ![PutChild, Restore].contains(&other) => {
                assert!(!content.has(storage, &content.child).await, "{when}");
            }
            // A quarantine takes no content that was pushed again.
            Commit if other == Quarantine => assert!(content.has_blob(storage, "a").await, "{when}"),
            _ => {}
        }
    }
    // What was promised since the run began is not removed by it.
    if first == Collect && second_done {
        match second {
            HeadBlob | Commit | ResumeCommit => assert!(content.has_blob(storage, "a").await, "{when}"),
            Mount | PutElsewhere => assert!(content.has_blob(storage, "b").await, "{when}"),
            HeadChild | PutChild => {
                assert!(content.has(storage, &content.child).await, "{when}");
                assert!(content.has_blob(storage, "a").await, "{when}");
            }
            PutReferrer => assert!(content.has(storage, &content.referrer).await, "{when}"),
            _ => {}
        }
    }
}

/// Asserts that the manifest of each record exists, with all that it needs.
async fn assert_records_are_whole(site: &Site, when: &str) {
    let storage = &site.storage;
    let stored = Stored::read(storage).await;
    for record in storage.deleted(&name("a"), all()).await.unwrap().items {
        let record = whole(record);
        let found = storage.deleted_document(&name("a"), &record.id).await.unwrap();
        assert!(matches!(found, Document::Whole(_)), "{record:?} {when}");
        assert!(
            stored.data.contains(&site.content.blob.digest),
            "{record:?} {when}"
        );
    }
}

/// Performs both operations. Returns the results, or `None` if the first one does not come to the point.
async fn perform_both(
    site: &Site,
    [first, second]: [Operation; 2],
    (point, passes): (Point, usize),
) -> Option<[(Operation, bool); 2]> {
    let other: Arc<Mutex<Option<JoinHandle<bool>>>> = Arc::default();
    let (running, runtime, beside) = (Arc::clone(&other), Handle::current(), site.clone());
    let act = move || {
        let store = beside.storage.shared_store();
        let thread = thread::spawn(move || runtime.block_on(beside.perform(second)));
        // Until it has ended, or waits for the first one.
        while !thread.is_finished() && !store.is_waited_for() {
            thread::yield_now();
        }
        *running.lock().unwrap() = Some(thread);
    };
    site.storage.store().pauses.after(point, passes, act);
    let first_done = site.perform(first).await;
    let thread = other.lock().unwrap().take()?;
    let second_done = tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
    Some([(first, first_done), (second, second_done)])
}

/// Asserts that a collection leaves what the tags refer to, and nothing else.
async fn assert_no_leak(root: &Path, site: &Site, when: &str) {
    let storage = &site.storage;
    assert!(site.collect(true).await);
    let stored = Stored::read(storage).await;
    for key in stored.manifests.keys() {
        let is_kept = stored.tagged.contains(key) || stored.is_named(&key.0, &key.1);
        let refers = key.1 == *site.content.referrer.digest();
        let subject = (key.0.clone(), *site.content.index.digest());
        assert!(
            is_kept || refers && stored.manifests.contains_key(&subject),
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

/// Returns the points at which an operation can be stopped, each with the number of passes before.
async fn points_of(start: Start, content: &Arc<Content>, operation: Operation) -> Vec<(Point, usize)> {
    let root = scratch();
    let site = start.prepare(root.path(), content, [operation; 2]).await;
    let pauses = &site.storage.store().pauses;
    pauses.take_passed();
    site.perform(operation).await;
    let is_left_out = |point: &Point| LEFT_OUT.iter().any(|(left_out, _)| left_out == point);
    let passed = pauses
        .take_passed()
        .into_iter()
        .filter(|(point, _)| !is_left_out(point));
    passed
        .flat_map(|(point, passes)| (0..passes.min(PASSES)).map(move |pass| (point, pass)))
        .collect()
}

async fn all_pairs(start: Start) -> BTreeSet<Point> {
    let content = Arc::new(Content::new());
    let mut reached = BTreeSet::new();
    for first in OPERATIONS {
        if !OPERATIONS.iter().any(|second| start.concerns([first, *second])) {
            continue;
        }
        for point in points_of(start, &content, first).await {
            for second in OPERATIONS {
                if !start.concerns([first, second]) {
                    continue;
                }
                let root = scratch();
                let site = start.prepare(root.path(), &content, [first, second]).await;
                let Some(both) = perform_both(&site, [first, second], point).await else {
                    continue;
                };
                reached.insert(point.0);
                let when = format!("after {both:?}, the second one at {point:?}, from {start:?}");
                check(&site, both, &when).await;
                if start != Damaged {
                    assert_no_leak(root.path(), &site, &when).await;
                }
            }
        }
    }
    reached
}

#[tokio::test]
async fn promises_hold_whichever_operation_comes_at_whichever_point_of_another() {
    let mut reached = BTreeSet::new();
    for start in [Tagged, Untagged, Deleted, Damaged] {
        reached.extend(all_pairs(start).await);
    }
    let missed: Vec<_> = Point::ALL
        .iter()
        .filter(|point| !reached.contains(*point) && !LEFT_OUT.iter().any(|(left_out, _)| left_out == *point))
        .collect();
    assert!(
        missed.is_empty(),
        "no operation is stopped at {missed:?}; add an operation that comes there, or the reason against it"
    );
}

/// Otherwise it could remember the directory of the link as durable after the collection has removed it.
#[tokio::test]
async fn the_deletion_of_a_blob_waits_for_a_collection_that_removes_its_link() {
    let root = scratch();
    let site = Site {
        storage: relaxed(root.path()),
        content: Arc::new(Content::new()),
        session: None,
        may_be_gone: true,
    };
    site.perform(Commit).await;

    let both = perform_both(&site, [Collect, DeleteBlob], (Point::ReclaimLocked, 0)).await;

    // It finds no link any more.
    assert_eq!(both, Some([(Collect, true), (DeleteBlob, false)]));
}
