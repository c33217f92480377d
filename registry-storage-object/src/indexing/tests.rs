use super::*;
use crate::{Location, ObjectStorage};
use registry_core::{Algorithm, Digest, storage::Storage as _};
use std::sync::Arc;

/// Two replicas on one bucket.
async fn open() -> (ObjectStorage, ObjectStorage) {
    let location = Location::memory();
    let open = || ObjectStorage::options().index_all().open(location.clone());
    (open().await.unwrap(), open().await.unwrap())
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

/// Creates a tag, without a note.
async fn put(storage: &ObjectStorage, text: &str) {
    let digest = Digest::of(Algorithm::Sha256, b"x").to_string();
    let key = keys::tag(&name("a"), &tag(text));
    storage.store.bucket.put(&key, digest).await.unwrap();
}

async fn note(storage: &ObjectStorage, text: &str, change: Change) {
    let store = &storage.store;
    let view = store.gate.view(&store.bucket).await.unwrap();
    store
        .note_tag(&name("a"), &tag(text), change, &view)
        .await
        .unwrap();
}

async fn remove(storage: &ObjectStorage, text: &str) {
    let key = keys::tag(&name("a"), &tag(text));
    storage.store.bucket.delete(&key).await.unwrap();
}

async fn tags(storage: &ObjectStorage) -> Vec<String> {
    let listed = storage.tags(&name("a"), Page::first(100)).await.unwrap();
    // Without anything in it, the repository does not exist.
    let listed = listed.unwrap_or_default();
    listed.items.iter().map(ToString::to_string).collect()
}

async fn repositories(storage: &ObjectStorage) -> Vec<String> {
    let listed = storage.repositories(Page::first(100)).await.unwrap();
    listed.items.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_another_replica_has_noted_is_on_the_next_page() {
    let (one, two) = open().await;
    put(&one, "v1").await;
    assert_eq!(tags(&one).await, ["v1"]);
    put(&two, "foreign").await;
    assert_eq!(tags(&one).await, ["v1"], "the tags are not listed again");

    note(&two, "v2", Change::Comes).await;
    assert_eq!(tags(&one).await, ["v1"], "it may come later, or never");
    put(&two, "v2").await;
    assert_eq!(tags(&one).await, ["v1", "v2"]);

    note(&two, "v1", Change::Goes).await;
    assert_eq!(tags(&one).await, ["v1", "v2"]);
    remove(&two, "v1").await;
    assert_eq!(tags(&one).await, ["v2"]);
    assert_eq!(tags(&two).await, ["foreign", "v2"], "by its own scan");
}

/// Writes an entry of the list of past targets, as a process that has died may leave it.
async fn leave_entry(storage: &ObjectStorage, text: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let key = keys::tag_index(&name("a"), &tag(text), &digest);
    storage.store.bucket.put(&key, digest.to_string()).await.unwrap();
    key
}

#[tokio::test]
async fn a_prefix_that_may_be_of_removed_objects_is_looked_at_before_it_is_shown() {
    let (mut one, two) = open().await;
    Arc::get_mut(&mut one.store).unwrap().prefixes_vanish = false;
    for text in ["v1", "v3"] {
        put(&two, text).await;
    }
    for text in ["v0", "v2", "v4"] {
        leave_entry(&two, text).await;
    }
    let a = name("a");
    for (after, limit, expected, more) in [
        (None, 1, &["v1"][..], true),
        (Some("v1"), 1, &["v3"], false),
        (Some("v0"), 2, &["v1", "v3"], false),
        (Some("v3"), 2, &[], false),
        (None, 0, &[], false),
    ] {
        let after = after.map(tag);
        let page = Page::first(limit).after(after.as_ref());
        let listed = one.tags(&a, page).await.unwrap().unwrap();
        let texts: Vec<_> = listed.items.iter().map(Tag::as_str).collect();
        assert_eq!((&texts[..], listed.more), (expected, more));
    }
}

#[tokio::test]
async fn what_a_process_that_has_died_was_creating_is_not_shown() {
    let (one, two) = open().await;
    assert!(two.store.prefixes_vanish, "memory has no prefixes of its own");
    put(&two, "v1").await;
    note(&two, "v2", Change::Comes).await;
    leave_entry(&two, "v2").await;
    assert_eq!(tags(&one).await, ["v1"]);
}

#[tokio::test]
async fn notes_of_all_parts_of_time_of_an_index_are_read() {
    for age in [FEW, FEW + 1, IDLE - 4] {
        let (one, _) = open().await;
        put(&one, "v1").await;
        leave_entry(&one, "gone").await;
        let bucket = &one.store.bucket;
        let slot = Slot::of(now(bucket).before(Duration::from_secs(age * Slot::SECONDS)));
        let note = keys::change(&keys::tag_changes(slot.0, &name("a")), false, "gone");
        bucket.put(&note, "").await.unwrap();

        assert_eq!(tags(&one).await, ["v1"], "{age}");
    }
}

#[tokio::test]
async fn what_processes_have_left_of_tags_is_removed_and_tags_stay() {
    let (one, two) = open().await;
    put(&two, "v1").await;
    let mut left = Vec::new();
    for text in ["v1", "v2"] {
        let key = leave_entry(&two, text).await;
        one.store.leftovers.add(&name("a"), tag(text), vec![key.clone()]);
        left.push(key);
    }

    one.store.trim_changes().await.unwrap();

    let [of_tag, left] = &left[..] else {
        panic!("{left:?}")
    };
    assert!(two.store.bucket.head(of_tag).await.unwrap().is_some());
    assert!(two.store.bucket.head(left).await.unwrap().is_none());
}

#[tokio::test]
async fn the_later_one_of_two_changes_counts_whatever_their_notes() {
    let (one, two) = open().await;
    put(&one, "v1").await;
    assert_eq!(tags(&one).await, ["v1"]);
    note(&two, "v1", Change::Goes).await;
    remove(&two, "v1").await;
    assert!(tags(&one).await.is_empty());
    note(&two, "v1", Change::Comes).await;
    put(&two, "v1").await;
    assert_eq!(tags(&one).await, ["v1"]);
    // Noted long ago.
    remove(&two, "v1").await;
    assert!(tags(&one).await.is_empty());
}

#[tokio::test]
async fn a_note_of_what_did_not_happen_changes_nothing() {
    let (one, two) = open().await;
    put(&one, "v1").await;
    for _ in 0..2 {
        note(&two, "v1", Change::Goes).await;
        note(&two, "v2", Change::Comes).await;
        assert_eq!(tags(&one).await, ["v1"]);
    }
}

#[tokio::test]
async fn many_notes_or_a_long_time_make_the_index_anew() {
    let (one, two) = open().await;
    put(&one, "v1").await;
    assert_eq!(tags(&one).await, ["v1"]);
    for number in 0..=LOOKS {
        note(&two, &format!("never-{number}"), Change::Comes).await;
    }
    put(&two, "v2").await;
    assert_eq!(tags(&one).await, ["v1", "v2"]);

    let repository = name("a");
    let (one, index) = (&one.store, one.store.indexes.tags_of(&repository).unwrap());
    let long = Duration::from_secs(IDLE * 1000);
    let rewind = |index: &mut Option<Index<Tag>>| {
        let index = index.as_mut().unwrap();
        index.synced = index.synced.before(long);
    };
    rewind(&mut *index.0.lock().await);
    put(&two, "v3").await;
    let page = Page::first(100);
    let (_, count) = one.page_of(&index, &TagsOf(&repository), &page).await.unwrap();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn notes_that_no_index_reads_are_removed() {
    let (one, two) = open().await;
    let (one, bucket) = (&one.store, &one.store.bucket);
    put(&two, "v1").await;
    let repository = name("a");
    let old = Slot::of(now(bucket).before(Duration::from_secs(300_000)));
    let old_note = keys::change(&keys::tag_changes(old.0, &repository), true, "v1");
    bucket.put(&old_note, "").await.unwrap();
    note(&two, "v1", Change::Comes).await;

    one.trim_changes().await.unwrap();

    assert!(bucket.head(&old_note).await.unwrap().is_none());
    assert_eq!(
        one.list_all(keys::CHANGES).await.unwrap().len(),
        1,
        "the new one stays"
    );
}

#[tokio::test]
async fn repositories_come_and_go_for_every_replica() {
    let (one, two) = open().await;
    assert!(repositories(&one).await.is_empty());
    let store = &two.store;
    let view = store.gate.view(&store.bucket).await.unwrap();
    for text in ["a/b", "a-b"] {
        store.note_repository(&name(text), &view).await.unwrap();
    }
    assert_eq!(repositories(&one).await, ["a-b", "a/b"]);

    let link = keys::revision(&name("a/b"), &Digest::of(Algorithm::Sha256, b"x"));
    store.bucket.put(&link, "").await.unwrap();
    for (text, expected) in [("a/b", false), ("a-b", true)] {
        let forgotten = store.forget_repository(&name(text), None).await.unwrap();
        assert_eq!(forgotten, expected, "{text}");
    }
    assert_eq!(repositories(&one).await, ["a/b"]);

    // It is noted again, although it was a moment ago.
    store.note_repository(&name("a-b"), &view).await.unwrap();
    assert_eq!(repositories(&one).await, ["a-b", "a/b"]);
}

/// Cases of the storage contract, with an index for each repository.
mod contract {
    use super::*;
    use registry_conformance::storage::{Backend, listings, repositories, run, tags};

    async fn indexed(prefixes_vanish: bool) -> Backend {
        let (mut one, mut two) = open().await;
        for storage in [&mut one, &mut two] {
            Arc::get_mut(&mut storage.store).unwrap().prefixes_vanish = prefixes_vanish;
        }
        Backend::new(Arc::new(one), Arc::new(two))
    }

    macro_rules! kept {
        ($($group:ident::$case:ident)*) => {
            $(
                #[test]
                fn $case() {
                    for prefixes_vanish in [true, false] {
                        run(async || indexed(prefixes_vanish).await, $group::$case);
                    }
                }
            )*
        };
    }

    kept! {
        listings::tags_are_listed_in_byte_order_after_any_name
        listings::random_tags_are_paged_as_a_sorted_model_says
        listings::names_that_come_and_go_while_paging_shift_no_page
        repositories::a_repository_exists_from_its_first_manifest_on
        repositories::a_repository_still_exists_when_everything_in_it_has_gone
        tags::several_tags_are_moved_in_byte_order
    }
}
