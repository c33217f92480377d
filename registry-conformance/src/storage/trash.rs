//! With the means `trash`: deletions leave records, and tags have a history.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest, RepositoryName,
    storage::{
        Deletion, Document, Listing, Need, Page, Seen, Storage, TagEvent, TagExpect, TrashId, Trashed,
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns every record of a repository, all of which can be read.
async fn records(storage: &dyn Storage, repository: &RepositoryName) -> Vec<Trashed> {
    let listing = trash(storage).deleted(repository, all()).await.unwrap();
    let count = listing.items.len();
    let records: Vec<Trashed> = listing.items.into_iter().filter_map(Seen::whole).collect();
    assert_eq!(records.len(), count, "a record cannot be read");
    records
}

async fn delete_tag(storage: &dyn Storage, repository: &RepositoryName, name: &str, how: Deletion) -> Digest {
    let tag = tag(name);
    let deleted = writer(storage).delete_tag(repository, &tag, TagExpect::Any, how);
    deleted.await.unwrap().expect("the tag exists")
}

async fn delete(storage: &dyn Storage, repository: &RepositoryName, digest: Digest, how: Deletion) {
    let deleted = writer(storage).delete_manifest(repository, &digest, how);
    deleted.await.unwrap().expect("the manifest exists");
}

fn by(name: &str) -> Deletion {
    Deletion::new().by(Some(name.into()))
}

/// Returns the current time. Storages stamp records and events with the clock of the system.
fn now() -> SystemTime {
    SystemTime::now()
}

pub async fn a_deleted_manifest_is_recorded_with_its_tags_and_bytes(backend: Backend) {
    let a = repository("a");
    for (seed, algorithm) in (0..).zip(Algorithm::ALL) {
        let image = Image::new(seed).hashed_by(algorithm);
        put(&backend.first, &a, image.tagged(&["v1", "latest"])).await;
        put(&backend.first, &a, Image::new(9).tagged(&["other"])).await;
        let before = now();

        delete(&backend.first, &a, image.digest(), by("ann")).await;

        let record = records(&backend.second, &a).await.pop().expect("it was recorded");
        assert_eq!(record.digest, image.digest());
        assert_eq!(texts(&record.tags), ["latest", "v1"]);
        assert!(record.manifest_deleted);
        assert_eq!(record.media_type.as_ref(), Some(image.media_type()));
        assert_eq!(record.by.as_deref(), Some("ann"));
        let time = record.id.time();
        assert!(TrashId::at(before) <= record.id && time <= now(), "{time:?}");
        let document = trash(&backend.second).deleted_document(&a, &record.id).await;
        let Document::Whole(document) = document.unwrap() else {
            panic!("the bytes of a deleted manifest are lost");
        };
        assert_eq!((document.digest, document.bytes), (image.digest(), image.bytes()));
        assert_eq!(&document.media_type, image.media_type());
    }
}

pub async fn a_deleted_tag_is_recorded_with_its_target(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1", "latest"])).await;

    assert_eq!(
        delete_tag(&backend.first, &a, "v1", by("ann")).await,
        image.digest()
    );

    let recorded = records(&backend.second, &a).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].digest, image.digest());
    assert_eq!(texts(&recorded[0].tags), ["v1"]);
    assert!(!recorded[0].manifest_deleted);
    assert_eq!(recorded[0].by.as_deref(), Some("ann"));

    // Its bytes stay, also when the manifest goes for good.
    delete(&backend.first, &a, image.digest(), Deletion::new().permanently()).await;
    let document = trash(&backend.second).deleted_document(&a, &recorded[0].id).await;
    assert!(matches!(document.unwrap(), Document::Whole(found) if found.bytes == image.bytes()));
}

pub async fn a_permanent_deletion_leaves_no_record(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1", "v2"])).await;

    delete_tag(&backend.first, &a, "v1", Deletion::new().permanently()).await;
    delete(&backend.first, &a, image.digest(), Deletion::new().permanently()).await;

    assert_eq!(records(&backend.second, &a).await, []);
    let listed = trash(&backend.second).with_deleted(all()).await.unwrap();
    assert!(listed.items.is_empty());
}

pub async fn what_deletes_nothing_leaves_no_record(backend: Backend) {
    let a = repository("a");
    let (here, absent) = (Image::new(1), Image::new(2).digest());
    put(&backend.first, &a, here.tagged(&["v1"])).await;
    let write = writer(&backend.first);

    let (v1, v2) = (tag("v1"), tag("v2"));
    let expect = [TagExpect::Any, TagExpect::AbsentOrIs(absent)];
    for name in ["a", "absent"].map(repository) {
        for expect in expect {
            let deleted = write.delete_tag(&name, &v2, expect, by("ann"));
            assert_eq!(deleted.await.unwrap(), None);
        }
        let deleted = write.delete_manifest(&name, &absent, by("ann")).await;
        assert_eq!(deleted.unwrap(), None);
    }
    if backend.first.abilities().conditional_tags {
        let refused = write.delete_tag(&a, &v1, TagExpect::Is(absent), by("ann"));
        refused.await.unwrap_err();
    }

    assert_eq!(records(&backend.second, &a).await, []);
    let history = trash(&backend.second).history(&a, &tag("v1")).await.unwrap();
    assert_eq!(history.len(), 1, "the tag was created: {history:?}");
}

pub async fn records_are_listed_in_the_order_of_the_deletions(backend: Backend) {
    let a = repository("a");
    let mut model = Vec::new();
    for seed in 0..6 {
        let image = Image::new(seed);
        put(&backend.first, &a, image.tagged(&["v1"])).await;
        if seed % 2 == 0 {
            delete_tag(&backend.first, &a, "v1", by("ann")).await;
        } else {
            delete(&backend.second, &a, image.digest(), by("ann")).await;
        }
        model.push(image.digest());
    }
    let recorded = records(&backend.first, &a).await;
    let digests: Vec<Digest> = recorded.iter().map(|record| record.digest).collect();
    assert_eq!(digests, model);

    let ids: Vec<TrashId> = recorded.iter().map(|record| record.id).collect();
    let absent = TrashId::following(ids[2].time(), Some(ids[2]));
    for after in ids.iter().copied().map(Some).chain([None, Some(absent)]) {
        for limit in [0, 1, 2, 6, 1000] {
            let page = Page::first(limit).after(after.as_ref());
            let listed = trash(&backend.second).deleted(&a, page).await.unwrap();
            let more = listed.more;
            let listed: Vec<TrashId> = listed
                .items
                .into_iter()
                .filter_map(Seen::whole)
                .map(|record| record.id)
                .collect();
            let beyond: Vec<TrashId> = ids
                .iter()
                .copied()
                .filter(|id| after.is_none_or(|after| *id > after))
                .collect();
            assert_page(&Listing::new(listed, more), &beyond, limit);
        }
    }
}

pub async fn a_record_is_forgotten_and_nothing_else(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1", "v2"])).await;
    for name in ["v1", "v2"] {
        delete_tag(&backend.first, &a, name, Deletion::new()).await;
    }
    let recorded = records(&backend.second, &a).await;
    let [gone, stays] = [recorded[0].id, recorded[1].id];

    assert!(trash(&backend.second).forget(&a, &gone).await.unwrap());
    assert!(!trash(&backend.first).forget(&a, &gone).await.unwrap());
    assert!(
        !trash(&backend.first)
            .forget(&repository("b"), &stays)
            .await
            .unwrap()
    );

    assert_eq!(records(&backend.first, &a).await, recorded[1..]);
    assert!(manifest(&backend.first, &a, image.digest()).await.is_some());
    let document = trash(&backend.first).deleted_document(&a, &gone).await;
    assert!(matches!(document.unwrap(), Document::Lost));
}

pub async fn repositories_with_records_are_listed(backend: Backend) {
    let names = ["a", "a-b", "a/b", "a/b/c", "b"];
    for (seed, name) in (0..).zip(names) {
        put(
            &backend.first,
            &repository(name),
            Image::new(seed).tagged(&["v1"]),
        )
        .await;
        if name != "a/b" {
            delete_tag(&backend.first, &repository(name), "v1", by("ann")).await;
        }
    }
    let listed = async |after: Option<&str>, limit| {
        let after = after.map(repository);
        let page = Page::first(limit).after(after.as_ref());
        let Listing { items, more, .. } = trash(&backend.second).with_deleted(page).await.unwrap();
        let names: Vec<String> = items
            .into_iter()
            .filter_map(Seen::whole)
            .map(|name| name.to_string())
            .collect();
        Listing::new(names, more)
    };
    let all_of_them = ["a", "a-b", "a/b/c", "b"].map(str::to_owned);
    for limit in [0, 1, 3, 4, 1000] {
        assert_page(&listed(None, limit).await, &all_of_them, limit);
        assert_page(&listed(Some("a"), limit).await, &all_of_them[1..], limit);
        assert_page(&listed(Some("a/b"), limit).await, &all_of_them[2..], limit);
    }

    let a = repository("a/b/c");
    let id = records(&backend.first, &a).await[0].id;
    trash(&backend.first).forget(&a, &id).await.unwrap();

    assert_eq!(listed(None, 1000).await.items, ["a", "a-b", "b"]);
    assert_eq!(records(&backend.first, &repository("a/b")).await, []);
}

pub async fn what_is_deleted_twice_is_recorded_twice(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    for user in ["ann", "bob"] {
        put(&backend.first, &a, image.tagged(&["v1"])).await;
        delete(&backend.first, &a, image.digest(), by(user)).await;
    }

    let recorded = records(&backend.second, &a).await;

    let users: Vec<_> = recorded.iter().map(|record| record.by.as_deref()).collect();
    assert_eq!(users, [Some("ann"), Some("bob")]);
    assert!(recorded[0].id < recorded[1].id);
    // Put again, it is a manifest like any other, and its records stay.
    put(&backend.second, &a, image.tagged(&[])).await;
    assert!(manifest(&backend.first, &a, image.digest()).await.is_some());
    assert_eq!(records(&backend.first, &a).await, recorded);
}

pub async fn deletions_at_once_are_all_recorded(backend: Backend) {
    let a = repository("a");
    let mut expected = Vec::new();
    for seed in 0..16 {
        put(
            &backend.first,
            &a,
            Image::new(seed).tagged(&[&format!("v{seed}")]),
        )
        .await;
        expected.push(Image::new(seed).digest());
    }
    let deletions = (0..16).map(|seed| {
        let (storage, a) = (Arc::clone(&backend.first), a.clone());
        tokio::spawn(async move {
            if seed % 2 == 0 {
                delete_tag(&storage, &a, &format!("v{seed}"), by("ann")).await;
            } else {
                delete(&storage, &a, Image::new(seed).digest(), by("ann")).await;
            }
        })
    });
    for deletion in deletions.collect::<Vec<_>>() {
        deletion.await.unwrap();
    }

    let recorded = records(&backend.second, &a).await;
    let mut digests: Vec<Digest> = recorded.iter().map(|record| record.digest).collect();
    digests.sort();
    expected.sort();
    assert_eq!(digests, expected);
}

pub async fn a_tag_has_a_history_of_its_moves_and_deletions(backend: Backend) {
    let a = repository("a");
    let [first, second] = [1, 2].map(Image::new);
    let before = now();
    let ann = Some(Arc::from("ann"));
    put(&backend.first, &a, first.tagged(&["v1", "other"]).by(ann.clone())).await;
    put(&backend.first, &a, second.tagged(&["v1"])).await;
    // A push that moves nothing is no event.
    put(&backend.second, &a, second.tagged(&["v1"]).by(ann.clone())).await;
    delete_tag(&backend.second, &a, "v1", by("bob")).await;
    put(&backend.first, &a, first.tagged(&["v1"]).by(ann)).await;
    delete(&backend.first, &a, first.digest(), by("bob")).await;

    let history = trash(&backend.second).history(&a, &tag("v1")).await.unwrap();

    let events: Vec<_> = history
        .iter()
        .map(|event| (event.target, event.by.as_deref()))
        .collect();
    let [first, second] = [first, second].map(|image| image.digest());
    assert_eq!(
        events,
        [
            (Some(first), Some("ann")),
            (Some(second), None),
            (None, Some("bob")),
            (Some(first), Some("ann")),
            (None, Some("bob")),
        ]
    );
    // A history may lack the move before a deletion.
    let before_deletions: Vec<_> = history.iter().map(|event| event.was).collect();
    assert_eq!(before_deletions, [None, None, Some(second), None, Some(first)]);
    let times: Vec<SystemTime> = history.iter().filter_map(|event| event.at).collect();
    assert_eq!(times.len(), 5);
    // A storage may keep whole seconds.
    let (before, after) = (before - Duration::from_secs(1), now());
    assert!(
        times.iter().all(|time| before <= *time && *time <= after),
        "{times:?}"
    );
    let other = trash(&backend.second).history(&a, &tag("other")).await.unwrap();
    assert_eq!(other.len(), 2, "{other:?}");
    for absent in [(&a, "absent"), (&repository("b"), "v1")] {
        let nothing: Vec<TagEvent> = trash(&backend.first)
            .history(absent.0, &tag(absent.1))
            .await
            .unwrap();
        assert_eq!(nothing, []);
    }
}

pub async fn a_put_of_the_same_manifest_renews_the_last_event(backend: Backend) {
    let a = repository("a");
    let [one, two] = [1, 2].map(Image::new);
    put(&backend.first, &a, one.tagged(&["v1"])).await;
    put(&backend.first, &a, two.tagged(&["v1"])).await;
    let history = async || trash(&backend.second).history(&a, &tag("v1")).await.unwrap();
    let before = history().await;
    let mut last = now();

    for _ in 0..3 {
        put(&backend.first, &a, two.tagged(&["v1"])).await;

        let mut renewed = history().await;
        let put_again = renewed.last_mut().and_then(|event| event.put_again.take());
        // A storage may keep whole seconds.
        assert!(put_again > Some(last - Duration::from_secs(1)), "{put_again:?}");
        assert_eq!(renewed, before, "nothing else changed");
        last = now();
    }
    put(&backend.first, &a, one.tagged(&["v1"])).await;
    let again: Vec<bool> = history()
        .await
        .iter()
        .map(|event| event.put_again.is_some())
        .collect();
    assert_eq!(again, [false, true, false]);
}

pub async fn a_restore_is_an_event_that_says_so_and_no_push(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    delete_tag(&backend.first, &a, "v1", by("bob")).await;
    let restore = || image.tagged(&["v1"]).restoring(true).by(Some(Arc::from("ann")));
    let history = async || trash(&backend.second).history(&a, &tag("v1")).await.unwrap();

    put(&backend.first, &a, restore()).await;

    let events = history().await;
    let restored: Vec<bool> = events.iter().map(|event| event.restored).collect();
    assert_eq!(restored, [false, false, true]);
    let last = &events[2];
    assert_eq!(
        (last.target, last.by.as_deref(), last.put_again),
        (Some(image.digest()), Some("ann"), None)
    );
    put(&backend.first, &a, restore()).await;
    assert_eq!(history().await, events, "a repetition changes nothing");
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    let pushed = history().await;
    assert!(pushed[2].restored && pushed[2].put_again.is_some(), "{pushed:?}");
}

pub async fn the_newest_events_of_a_history_are_always_there(backend: Backend) {
    let a = repository("a");
    let images = [1, 2].map(Image::new);
    for round in 0..150 {
        put(&backend.first, &a, images[round % 2].tagged(&["v1"])).await;
    }

    let history = trash(&backend.second).history(&a, &tag("v1")).await.unwrap();

    let newest: Vec<_> = history.iter().rev().take(100).map(|event| event.target).collect();
    let expected: Vec<_> = (50..150)
        .rev()
        .map(|round| Some(images[round % 2].digest()))
        .collect();
    assert_eq!(newest, expected);
}

pub async fn tags_with_a_history_are_listed_also_deleted_ones(backend: Backend) {
    let a = repository("a");
    put(&backend.first, &a, Image::new(1).tagged(&["b", "a", "d", "c"])).await;
    put(&backend.first, &repository("b"), Image::new(1).tagged(&["x"])).await;
    for name in ["a", "c"] {
        delete_tag(&backend.first, &a, name, Deletion::new().permanently()).await;
    }
    let tags = ["a", "b", "c", "d"].map(tag);
    for (after, beyond) in [(None, 0), (Some("b"), 2), (Some("bb"), 2), (Some("d"), 4)] {
        for limit in [0, 1, 2, 4, 1000] {
            let after = after.map(tag);
            let page = Page::first(limit).after(after.as_ref());
            let listed = trash(&backend.second).with_history(&a, page).await.unwrap();
            assert_page(&listed, &tags[beyond..], limit);
        }
    }
    let c = repository("c");
    let nothing = trash(&backend.second).with_history(&c, all());
    assert!(nothing.await.unwrap().items.is_empty());
}

pub async fn the_history_of_a_deleted_tag_is_forgotten_and_no_other(backend: Backend) {
    let (a, b) = (repository("a"), repository("b/c"));
    for repository in [&a, &b] {
        put(
            &backend.first,
            repository,
            Image::new(1).tagged(&["gone", "here"]),
        )
        .await;
        delete_tag(&backend.first, repository, "gone", Deletion::new()).await;
    }
    delete_tag(&backend.first, &b, "here", Deletion::new().permanently()).await;
    let (long_ago, later) = (now() - DAY, now() + DAY);
    let forget = async |repository: &RepositoryName, name: &str, before| {
        let tag = tag(name);
        let forgotten = trash(&backend.first).forget_history(repository, &tag, before);
        forgotten.await.unwrap()
    };

    assert!(!forget(&a, "gone", long_ago).await, "it is too young");
    assert!(!forget(&a, "here", later).await, "the tag exists");
    assert!(!forget(&a, "never", later).await && !forget(&repository("x"), "gone", later).await);
    let both = trash(&backend.second).with_histories(all()).await.unwrap();
    assert_page(&both, &[Seen::Whole(a.clone()), Seen::Whole(b.clone())], 1000);
    for (repository, name) in [(&a, "gone"), (&b, "gone"), (&b, "here")] {
        assert!(forget(repository, name, later).await);
        assert!(!forget(repository, name, later).await);
    }

    for handle in [&backend.first, &backend.second] {
        let tags = trash(handle).with_history(&a, all()).await.unwrap();
        assert_eq!(tags.items, [tag("here")]);
        assert_eq!(trash(handle).history(&a, &tag("gone")).await.unwrap(), []);
        let left = trash(handle).with_histories(all()).await.unwrap();
        assert_page(&left, &[Seen::Whole(a.clone())], 1000);
    }
    // The record stays, and the next tag of that name has a history of its own.
    assert_eq!(records(&backend.first, &a).await.len(), 1);
    put(&backend.first, &a, Image::new(1).tagged(&["gone"])).await;
    let history = trash(&backend.second).history(&a, &tag("gone")).await.unwrap();
    assert_eq!(history.len(), 1);
}

pub async fn what_was_deleted_is_not_lost(backend: Backend) {
    let a = repository("a");
    let (with_tags, other) = (Image::new(1), Image::new(2));
    let tags = [
        "permanently",
        "recorded",
        "with-its-manifest",
        "pushed-again",
        "stays",
    ];
    put(&backend.first, &a, with_tags.tagged(&tags[2..3])).await;
    put(&backend.first, &a, other.tagged(&tags[..2])).await;
    put(&backend.first, &a, other.tagged(&tags[3..])).await;
    delete_tag(&backend.first, &a, tags[0], Deletion::new().permanently()).await;
    delete_tag(&backend.first, &a, tags[1], by("ann")).await;
    delete(&backend.first, &a, with_tags.digest(), Deletion::new()).await;
    delete_tag(&backend.first, &a, tags[3], Deletion::new()).await;
    put(&backend.first, &a, other.tagged(&tags[3..4])).await;

    for handle in [&backend.first, &backend.second] {
        for name in [&a, &repository("b")] {
            let lost = trash(handle).lost_tags(name, all()).await.unwrap();
            assert!(lost.items.is_empty() && !lost.more, "{lost:?}");
        }
    }
    for record in records(&backend.second, &a).await {
        assert!(trash(&backend.first).forget(&a, &record.id).await.unwrap());
    }
    let lost = trash(&backend.first).lost_tags(&a, all()).await.unwrap();
    assert!(lost.items.is_empty(), "{lost:?}");
}
