//! Tests of the moves of tags.

use super::pointer::Swapped;
use crate::{
    Location,
    bucket::Meta,
    keys,
    store::Store,
    support::{digest, name, open, open_with_log, put, put_by_another_program, put_expecting, resolve, tag},
};
use futures_util::{TryStreamExt as _, future::join_all};
use registry_core::{
    Reference,
    storage::{
        Deletion, LostTag, Page, PutOutcome, Seen, Storage as _, StorageError, StorageInspect as _,
        StorageTrash as _, StorageWrite as _, TagEvent, TagExpect,
    },
};

use std::time::Duration;

fn targets(events: &[TagEvent]) -> Vec<Option<registry_core::Digest>> {
    events.iter().map(|event| event.target).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_history_has_no_event_of_a_move_that_did_not_happen() {
    let bucket = Location::memory();
    let replicas = [
        open(&bucket).await,
        open(&bucket).await,
        open(&bucket).await,
        open(&bucket).await,
    ];
    for round in 0..50 {
        let text = format!("v{round}");
        let mut puts = Vec::new();
        for (number, storage) in replicas.iter().cloned().enumerate() {
            let text = text.clone();
            puts.push(tokio::spawn(async move {
                put_expecting(&storage, number, &[&text], TagExpect::Absent).await
            }));
        }
        let outcomes = join_all(puts).await;

        let won = |outcome: &Result<PutOutcome, _>| outcome.as_ref().unwrap().failed.is_none();
        let winner = outcomes.iter().position(won);
        let events = replicas[0].history(&name("a"), &tag(&text)).await.unwrap();
        assert_eq!(targets(&events), [winner.map(digest)]);
    }
}

#[tokio::test]
async fn a_deletion_is_the_last_event_whatever_the_clocks_say() {
    let storage = open(&Location::memory()).await;
    put(&storage, 1, &["v1"]).await;
    let (a, v1) = (name("a"), tag("v1"));
    // An event by a replica whose clock is ahead.
    let store = &storage.store;
    let entries = store.entries(&a, &v1).await.unwrap();
    let ahead = "09999999999999999999";
    let last = store
        .bucket
        .list(&keys::history(&a, &v1))
        .try_next()
        .await
        .unwrap()
        .unwrap();
    let directory = keys::history(&a, &v1);
    let name_of_last = last.key[directory.len() + 1..].to_owned();
    let moved = format!("{directory}/{ahead}{}", &name_of_last[20..]);
    store.bucket.put(&moved, "{}").await.unwrap();
    assert_ne!(store.entries(&a, &v1).await.unwrap(), entries);

    storage
        .delete_tag(&a, &v1, TagExpect::Any, Deletion::new())
        .await
        .unwrap();

    let events = storage.history(&a, &v1).await.unwrap();
    assert_eq!(events.last().unwrap().target, None, "{events:?}");
    let lost = storage.lost_tags(&a, Page::first(10)).await.unwrap();
    assert!(lost.items.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_tag_of_another_program_is_moved_and_removed_with_all_that_is_left_of_it() {
    let storage = open(&Location::memory()).await;
    let store = &storage.store;
    let (a, v1) = (name("a"), tag("v1"));
    let old = put_by_another_program(store, r#"{"schemaVersion":2}"#, Some("v1")).await;
    assert_eq!(resolve(&storage, "v1").await, Some(old));

    let outcome = put(&storage, 1, &["v1"]).await;

    assert_eq!(outcome.moved[0].previous, Some(old));
    let events = storage.history(&a, &v1).await.unwrap();
    assert_eq!(targets(&events), [Some(old), Some(digest(1))]);
    assert_eq!((events[0].at, events[1].at.is_some()), (None, true));
    storage
        .delete_tag(&a, &v1, TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    // registry:2 lists what has a directory.
    let left: Vec<_> = store.bucket.list(&keys::tags(&a)).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_tag_with_a_mark_is_read_moved_and_removed_like_any_other() {
    let storage = open(&Location::memory()).await;
    let store = &storage.store;
    let (a, v1) = (name("a"), tag("v1"));
    for removes in [false, true] {
        put(&storage, 1, &["v1"]).await;
        let (pointer, _) = store.tag_state(&a, &v1).await.unwrap();
        let marked = store.mark(&a, &v1, &pointer, None).await.unwrap();
        assert!(marked.is_some());
        assert_eq!(resolve(&storage, "v1").await, Some(digest(1)));

        if removes {
            let expect = TagExpect::Is(digest(1));
            let removed = storage.delete_tag(&a, &v1, expect, Deletion::new()).await;
            assert_eq!(removed.unwrap(), Some(digest(1)));
            assert_eq!(resolve(&storage, "v1").await, None);
        } else {
            let outcome = put(&storage, 2, &["v1"]).await;
            assert_eq!(outcome.moved[0].previous, Some(digest(1)));
            assert_eq!(resolve(&storage, "v1").await, Some(digest(2)));
        }
    }
}

#[tokio::test]
async fn a_mark_that_was_in_vain_is_taken_off() {
    let storage = open(&Location::memory()).await;
    let store = &storage.store;
    let (a, v1) = (name("a"), tag("v1"));
    put(&storage, 1, &["v1"]).await;
    let (pointer, seen) = store.tag_state(&a, &v1).await.unwrap();
    // Somebody is about to put the same manifest.
    let change = crate::history::Change::PutAgain(digest(1));
    store.write_entry(&a, &v1, change, None, None).await.unwrap();
    let view = store.gate.view(&store.bucket).await.unwrap();

    let held = store.hold(&a, &v1, &pointer, &seen, &view).await.unwrap();

    assert!(held.is_none());
    let link = store.bucket.get(&keys::tag(&a, &v1)).await.unwrap().unwrap();
    assert_eq!(link.bytes, digest(1).to_string());
    let unchanged = TagExpect::Unchanged(digest(1), seen.version());
    let refused = storage.delete_tag(&a, &v1, unchanged, Deletion::new()).await;
    assert!(
        matches!(refused, Err(StorageError::TagConflict { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_log_is_shortened_and_an_entry_in_a_place_that_was_freed_moves_nothing() {
    let storage = open_with_log(&Location::memory()).await;
    let store = &storage.store;
    let (a, v1) = (name("a"), tag("v1"));
    put(&storage, 0, &["v1"]).await;
    let early = store.pointer(&a, &v1).await.unwrap();
    for number in 1..260 {
        put(&storage, number, &["v1"]).await;
    }
    let entries: Vec<_> = store
        .bucket
        .list(&keys::log(&a, &v1))
        .try_collect()
        .await
        .unwrap();
    assert!((100..=220).contains(&entries.len()), "{}", entries.len());

    let late = store.repoint(&a, &v1, &early, &digest(1), None).await.unwrap();

    assert_eq!(late, Swapped::Refused);
    assert_eq!(resolve(&storage, "v1").await, Some(digest(259)));
    let after: Vec<_> = store
        .bucket
        .list(&keys::log(&a, &v1))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(after.len(), entries.len());
}

#[tokio::test]
async fn the_link_of_a_tag_is_derived_from_its_log() {
    let storage = open_with_log(&Location::memory()).await;
    let store = &storage.store;
    let (a, v1) = (name("a"), tag("v1"));
    let old = put_by_another_program(store, r#"{"schemaVersion":2}"#, Some("v1")).await;
    let link = async || {
        let object = store.bucket.get(&keys::tag(&a, &v1)).await.unwrap();
        object.map(|object| object.bytes)
    };

    let outcome = put(&storage, 1, &["v1"]).await;
    assert_eq!(outcome.moved[0].previous, Some(old));
    assert_eq!(link().await.unwrap(), digest(1).to_string());
    storage
        .delete_tag(&a, &v1, TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    assert_eq!(link().await, None);

    // What another replica writes late is no tag.
    store
        .bucket
        .put(&keys::tag(&a, &v1), old.to_string())
        .await
        .unwrap();
    assert_eq!(resolve(&storage, "v1").await, None);
    assert_eq!(put(&storage, 2, &["v1"]).await.moved[0].previous, None);
    assert_eq!(link().await.unwrap(), digest(2).to_string());
}

#[tokio::test]
async fn a_tag_in_a_log_whose_link_is_missing_is_a_tag_and_gets_its_link_again() {
    let bucket = Location::memory();
    let (storage, other) = (open_with_log(&bucket).await, open_with_log(&bucket).await);
    put(&storage, 1, &["v1"]).await;
    let (a, v1, store) = (name("a"), tag("v1"), &storage.store);
    // A deletion of the link arrives late.
    let link = keys::tag(&a, &v1);
    store.bucket.delete(&link).await.unwrap();
    assert_eq!(resolve(&storage, "v1").await, Some(digest(1)));

    let listed = other.tags(&a, Page::first(10)).await.unwrap().unwrap();
    assert_eq!(listed.items, [tag("v1")]);
    let targets = storage.tag_targets(&a, Page::first(10)).await.unwrap();
    let pinned: Vec<_> = targets.items.into_iter().filter_map(Seen::whole).collect();
    assert_eq!(pinned[0].digest, digest(1));
    let found = storage.tags_of(&a, &digest(1), Page::first(10)).await.unwrap();
    assert_eq!(found.items, [tag("v1")]);
    let lost = storage.lost_tags(&a, Page::first(10)).await.unwrap();
    let expected = LostTag::new(v1.clone(), digest(1));
    assert!(
        matches!(&lost.items[..], [Seen::Whole(found)] if *found == expected),
        "{lost:?}"
    );

    store.note_leftovers(&a, &old_objects(store).await);
    store.trim_changes().await.unwrap();

    let entry = keys::tag_index(&a, &v1, &digest(1));
    assert!(store.bucket.head(&entry).await.unwrap().is_some());
    let derived = store.bucket.get(&link).await.unwrap().unwrap();
    assert_eq!(derived.bytes, digest(1).to_string());
}

#[tokio::test]
async fn a_mark_that_a_replica_has_left_is_taken_off_by_a_collection() {
    let storage = open(&Location::memory()).await;
    let (a, v1, store) = (name("a"), tag("v1"), &storage.store);
    put(&storage, 1, &["v1"]).await;
    let (pointer, _) = store.tag_state(&a, &v1).await.unwrap();
    store.mark(&a, &v1, &pointer, None).await.unwrap().unwrap();

    store.note_leftovers(&a, &store.list_all(&keys::tags(&a)).await.unwrap());
    assert!(store.leftovers.take().is_empty(), "its deletion may be going on");
    store.note_leftovers(&a, &old_objects(store).await);
    store.trim_changes().await.unwrap();

    let link = store.bucket.get(&keys::tag(&a, &v1)).await.unwrap().unwrap();
    assert_eq!(link.bytes, digest(1).to_string());
}

/// Lists the objects of the tags as a listing shows them a day later.
async fn old_objects(store: &Store) -> Vec<Meta> {
    let mut objects = store.list_all(&keys::tags(&name("a"))).await.unwrap();
    for object in &mut objects {
        object.modified -= Duration::from_secs(24 * 60 * 60);
    }
    objects
}

#[tokio::test]
async fn the_deletion_of_a_manifest_without_a_record_removes_the_tags_that_a_stopped_one_has_left() {
    let storage = open(&Location::memory()).await;
    put(&storage, 1, &["v1"]).await;
    let (a, bucket) = (name("a"), &storage.store.bucket);
    bucket.delete(&keys::revision(&a, &digest(1))).await.unwrap();

    let deleted = storage.delete_manifest(&a, &digest(1), Deletion::new()).await;

    assert_eq!(deleted.unwrap(), Some(vec![tag("v1")]));
    assert_eq!(resolve(&storage, "v1").await, None);
    let again = storage.delete_manifest(&a, &digest(1), Deletion::new()).await;
    assert_eq!(again.unwrap(), None);
    let page = Page::first(10);
    assert_eq!(
        storage.deleted(&a, page).await.unwrap().items.len(),
        1,
        "it can be undone"
    );
}

#[tokio::test]
async fn a_manifest_that_is_kept_is_absent_when_its_content_has_gone() {
    let bucket = Location::memory();
    let (storage, other) = (open(&bucket).await, open(&bucket).await);
    put(&storage, 1, &["v1"]).await;
    let (a, reference) = (name("a"), Reference::Digest(digest(1)));
    assert!(storage.manifest(&a, &reference).await.unwrap().is_some());

    let data = keys::blob(&digest(1));
    other.store.bucket.delete(&data).await.unwrap();
    assert!(storage.manifest(&a, &reference).await.unwrap().is_none());
    other.store.bucket.put(&data, "damaged").await.unwrap();
    assert!(storage.manifest(&a, &reference).await.unwrap().is_none());

    // So a client pushes it again.
    put(&storage, 1, &["v1"]).await;
    assert!(storage.manifest(&a, &reference).await.unwrap().is_some());
}

#[tokio::test]
async fn a_tag_whose_link_was_overwritten_is_deleted_with_the_target_that_it_had() {
    let storage = open(&Location::memory()).await;
    let (a, v1) = (name("a"), tag("v1"));
    for number in [1, 2, 3] {
        put(&storage, number, &[]).await;
    }
    // Nothing has the one. At the other, the tag was moved by another program.
    for (link, expected) in [(9, digest(2)), (3, digest(3))] {
        put(&storage, 2, &["v1"]).await;
        let text = digest(link).to_string();
        storage.store.bucket.put(&keys::tag(&a, &v1), text).await.unwrap();

        let removal = storage.delete_tag(&a, &v1, TagExpect::Any, Deletion::new());
        removal.await.unwrap();

        let deleted = storage.deleted(&a, Page::first(10)).await.unwrap();
        let Some(Seen::Whole(last)) = deleted.items.last() else {
            panic!("{deleted:?}");
        };
        assert_eq!(last.digest, expected);
    }
}
