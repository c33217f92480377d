//! Records of deletions keep content until they are forgotten.

use super::*;
use registry_core::storage::{Deletion, StorageTrash as _, StorageWrite as _};
use std::task::{Context, Poll, Waker};

/// Options of a run that keeps what was deleted.
const fn keeping() -> CollectOptions {
    at_once().untagged(true).empty_trash(false)
}

#[tokio::test]
async fn what_a_record_names_stays_until_the_record_is_forgotten() {
    let pushed = Pushed::new();
    let layer = pushed.blob("a", "layer").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["layer"])).await;
    pushed.delete("a", &manifest.to_string()).await;
    let name = pushed.repository("a").name().clone();

    let kept = collected(&pushed.storage, keeping()).await;
    assert_eq!(kept.removed, Default::default());
    assert!(pushed.holds("a", &layer).await);

    let records = pushed.storage.deleted(&name, Page::first(10)).await.unwrap();
    for record in records.items {
        let id = record.whole().unwrap().id;
        assert!(pushed.storage.forget(&name, &id).await.unwrap());
    }
    collected(&pushed.storage, keeping()).await;
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn the_manifest_of_a_deleted_tag_stays_although_untagged_ones_go() {
    let pushed = Pushed::new();
    pushed.blob("a", "layer").await;
    let child = image(&["layer"]);
    pushed.put("a", None, &child).await;
    pushed.put("a", Some("v1"), &index(&[&child])).await;
    pushed.delete("a", "v1").await;
    let before = dump(&pushed.storage).await;

    collected(&pushed.storage, keeping()).await;
    assert_eq!(dump(&pushed.storage).await, before);

    let preview = collected(&pushed.storage, at_once().untagged(true).dry_run(true)).await;
    assert_eq!((preview.forgotten, preview.forgotten_tags), (1, 1));
    assert_eq!(dump(&pushed.storage).await, before);
    let report = collected(&pushed.storage, at_once().untagged(true)).await;
    assert_eq!((report.forgotten, report.forgotten_tags), (1, 1));
    assert_eq!(report.removed, preview.removed);
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn what_a_run_removes_can_be_restored_like_what_was_deleted_by_request() {
    let pushed = Pushed::new();
    let layer = pushed.blob("a", "layer").await;
    let manifest = pushed.put("a", None, &image(&["layer"])).await;

    let (preview, listed) = run(&pushed.storage, keeping().dry_run(true)).await;
    let (report, gone) = run(&pushed.storage, keeping()).await;

    assert_eq!(listed, [format!("manifest a@{manifest}")]);
    assert_eq!((gone, report.removed), (listed, preview.removed));
    assert!(pushed.holds("a", &layer).await);
    collected(&pushed.storage, keeping()).await;
    assert!(pushed.holds("a", &layer).await, "the record keeps it");
}

#[tokio::test]
async fn a_run_that_a_fuse_stops_forgets_nothing() {
    let pushed = Pushed::new();
    let mut manifests = Vec::new();
    for number in ["1", "2", "3"] {
        pushed.blob("a", number).await;
        manifests.push(pushed.put("a", Some(number), &image(&[number])).await);
    }
    collected(&pushed.storage, at_once()).await;
    pushed.delete("a", "3").await;
    let name = pushed.repository("a").name().clone();
    let storage = damage::Faulty::hiding(&pushed, manifests);

    let (report, _) = run(&storage, at_once()).await;

    assert!(report.stopped.is_some(), "{report:?}");
    assert_eq!(report.forgotten, 0);
    let records = pushed.storage.deleted(&name, Page::first(10)).await.unwrap();
    assert_eq!(records.items.len(), 1);
}

#[tokio::test]
async fn what_a_request_deletes_during_a_run_can_be_restored_although_the_run_keeps_no_records() {
    let pushed = Pushed::new();
    let layer = pushed.blob("a", "layer").await;
    let manifest = pushed.put("a", None, &image(&["layer"])).await;
    let name = pushed.repository("a").name().clone();
    // Between the look at the repository and the removal of its manifests, in the pass that removes.
    let passes = AtomicU64::new(0);
    let told = |event: &CollectEvent<'_>| {
        if matches!(event, CollectEvent::Repository { .. }) && passes.fetch_add(1, Ordering::Relaxed) == 1 {
            let mut deletion = pushed.storage.delete_manifest(&name, &manifest, Deletion::new());
            let deleted = deletion.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(deleted, Poll::Ready(Ok(Some(_)))), "{deleted:?}");
        }
    };

    let options = at_once().untagged(true);
    let report = collect(&pushed.storage, &options, &Counting::default(), &told)
        .await
        .unwrap();

    assert_eq!((passes.into_inner(), report.stopped.is_none()), (2, true));
    let records = pushed.storage.deleted(&name, Page::first(10)).await.unwrap();
    assert_eq!(records.items.len(), 1);
    assert!(pushed.holds("a", &layer).await);
}

#[tokio::test]
async fn a_run_tells_what_only_deletions_keep() {
    let pushed = Pushed::new();
    pushed.blob("a", "layer").await;
    pushed.blob("a", "common").await;
    let kept = image(&["common"]);
    pushed.put("a", Some("kept"), &kept).await;
    let gone = image(&["layer", "common"]);
    let manifest = pushed.put("a", Some("v1"), &gone).await;
    pushed.delete("a", &manifest.to_string()).await;

    for options in [keeping(), keeping().dry_run(true)] {
        let report = collected(&pushed.storage, options).await;

        assert_eq!(report.removed, Default::default());
        let restorable = report.restorable;
        assert_eq!((restorable.tags, restorable.manifests), (1, 1));
        assert_eq!(restorable.bytes, "layer".len() as u64);
    }
    let report = collected(&pushed.storage, at_once()).await;
    assert_eq!(report.restorable, Default::default());
}
