//! Tests of moves of tags whose answers are lost.

use crate::{
    ObjectStorage,
    gate::now,
    history::Entries,
    keys,
    rung::Rung,
    support::{Remote, digest, image, name, put, put_expecting, resolve, tag},
    tags::Link,
};
use http::StatusCode;
use object_stores::proxy::{Fault, Gate, Kind, Seen, on};
use registry_core::{
    Algorithm, Digest, MediaType,
    storage::{
        Deletion, Need, Needed, Page, PutManifest, SizePolicy, StorageError, StorageTrash as _,
        StorageWrite as _, TagExpect, TagMove,
    },
};
use std::{sync::Arc, time::Duration};

/// Opens a replica that passes the faults, whose requests expire soon.
async fn faulty(remote: &Remote) -> ObjectStorage {
    faulty_for(remote, Duration::from_secs(2)).await
}

/// Opens such a replica, whose requests expire after this time.
async fn faulty_for(remote: &Remote, validity: Duration) -> ObjectStorage {
    let mut storage = remote.open(true).await;
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.moving = validity;
    store.gate.times = store.gate.times.shortened_to(Duration::from_secs(20));
    storage
}

/// Opens such a replica, which tells others of a deletion by a note.
async fn noting(remote: &Remote) -> ObjectStorage {
    let mut storage = faulty_for(remote, Duration::from_secs(8)).await;
    Arc::get_mut(&mut storage.store).unwrap().rung = Rung::Log;
    storage
}

async fn targets(storage: &ObjectStorage) -> Vec<Option<Digest>> {
    let events = storage.history(&name("a"), &tag("v1")).await.unwrap();
    events.iter().map(|event| event.target).collect()
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_decided_by_what_is_there() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    put(&storage, 1, &["v1"]).await;
    for (number, fault) in [(2, Fault::CutAfterEffect), (3, Fault::Cut)] {
        let rule = remote
            .proxy
            .fault(on(Kind::ConditionalPut).key("/v1/current/link"), fault);

        let outcome = put(&storage, number, &["v1"]).await;

        assert_eq!(rule.happened(), 1);
        assert!(outcome.failed.is_none(), "{outcome:?}");
        assert_eq!(outcome.moved[0].previous, Some(digest(number - 1)));
        assert_eq!(resolve(&storage, "v1").await, Some(digest(number)));
    }
    assert_eq!(
        targets(&storage).await,
        [1, 2, 3].map(|number| Some(digest(number)))
    );
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_does_not_undo_later_ones() {
    for fault in [Fault::CutAfterEffect, Fault::Cut] {
        let remote = Remote::start().await;
        let (storage, other) = (faulty(&remote).await, remote.open(false).await);
        put(&other, 1, &["v1"]).await;
        let rule = remote
            .proxy
            .fault(on(Kind::ConditionalPut).key("/v1/current/link"), fault);
        let waiting = tokio::spawn(async move { put(&storage, 2, &["v1"]).await });
        while rule.happened() == 0 {
            tokio::task::yield_now().await;
        }

        put(&other, 3, &["v1"]).await;

        let outcome = waiting.await.unwrap();
        assert!(outcome.failed.is_none(), "{outcome:?}");
        assert_eq!(resolve(&other, "v1").await, Some(digest(3)));
    }
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_does_not_undo_later_puts() {
    for fault in [Fault::CutAfterEffect, Fault::Cut] {
        let remote = Remote::start().await;
        let (storage, other) = (faulty(&remote).await, remote.open(false).await);
        put(&other, 1, &["v1"]).await;
        let rule = remote
            .proxy
            .fault(on(Kind::ConditionalDelete).key("/v1/current/link"), fault);
        let waiting = tokio::spawn(async move {
            storage
                .delete_tag(&name("a"), &tag("v1"), TagExpect::Any, Deletion::new())
                .await
        });
        while rule.happened() == 0 {
            tokio::task::yield_now().await;
        }

        put(&other, 2, &["v1"]).await;

        assert_eq!(waiting.await.unwrap().unwrap(), Some(digest(1)));
        assert_eq!(resolve(&other, "v1").await, Some(digest(2)));
    }
}

#[tokio::test]
async fn a_new_tag_has_no_history_before_it_is_there() {
    let remote = Remote::start().await;
    let (storage, other) = (faulty(&remote).await, remote.open(false).await);
    let gate = Gate::new();
    remote.proxy.fault(
        on(Kind::ConditionalPut).key("/v1/current/link"),
        Fault::Delay(gate.clone()),
    );
    let putting = tokio::spawn(async move { put(&storage, 1, &["v1"]).await });
    assert!(gate.reached(1).await);

    let entries = other.store.entries(&name("a"), &tag("v1")).await.unwrap();

    assert_eq!(entries, Entries::default());
    gate.open();
    assert!(putting.await.unwrap().failed.is_none());
    assert_eq!(targets(&other).await, [Some(digest(1))]);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_decided_by_what_is_there() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    for fault in [Fault::CutAfterEffect, Fault::Cut] {
        put(&storage, 1, &["v1"]).await;
        remote
            .proxy
            .fault(on(Kind::ConditionalDelete).key("/v1/current/link"), fault);

        let deleted = storage
            .delete_tag(&name("a"), &tag("v1"), TagExpect::Any, Deletion::new())
            .await;

        assert_eq!(deleted.unwrap(), Some(digest(1)));
        assert_eq!(resolve(&storage, "v1").await, None);
    }
    let moved = Some(digest(1));
    assert_eq!(targets(&storage).await, [moved, None, moved, None]);
}

#[tokio::test]
async fn a_move_that_another_replica_anticipates_while_its_answer_is_lost_is_refused() {
    let remote = Remote::start().await;
    let (storage, other) = (faulty(&remote).await, remote.open(false).await);
    let gate = Gate::new();
    remote.proxy.fault(
        on(Kind::ConditionalPut).key("/v1/current/link"),
        Fault::Delay(gate.clone()),
    );
    let late = tokio::spawn({
        let storage = storage.clone();
        async move { put_expecting(&storage, 1, &["v1"], TagExpect::Absent).await }
    });
    assert!(gate.reached(1).await);

    put(&other, 2, &["v1"]).await;
    gate.open();

    let outcome = late.await.unwrap();
    let (_, error) = outcome.failed.unwrap();
    assert!(
        matches!(error, StorageError::TagConflict { current, .. } if current == Some(digest(2))),
        "{error:?}"
    );
    assert_eq!(resolve(&storage, "v1").await, Some(digest(2)));
    assert_eq!(targets(&storage).await, [Some(digest(2))]);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_decided_although_the_store_fails_meanwhile() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    put(&storage, 1, &[]).await;
    let record = keys::revision(&name("a"), &digest(1));
    for fault in [Fault::CutAfterEffect, Fault::Cut] {
        put(&storage, 1, &["v1"]).await;
        let v1 = on(Kind::ConditionalDelete).key("/v1/current/link");
        remote.proxy.fault(v1, fault.clone());
        remote
            .proxy
            .fault(on(Kind::ConditionalDelete).key(&record), fault);
        // The library does not repeat what is refused.
        let refused = Fault::Answer(StatusCode::FORBIDDEN);
        let look = on(Kind::Head).key("/v1/current/link");
        let look = remote.proxy.fault(look, refused);

        let deleted = storage
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await;

        assert_eq!(deleted.unwrap(), Some(vec![tag("v1")]));
        assert_eq!(resolve(&storage, "v1").await, None);
        assert!(storage.store.bucket.head(&record).await.unwrap().is_none());
        assert_eq!(look.happened(), 1);
    }
}

#[tokio::test]
async fn a_deletion_is_not_recorded_after_its_time() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let (a, v1, store) = (name("a"), tag("v1"), &storage.store);
    let how = Deletion::new();
    let manifest = store.revision(&a, &digest(1)).await;
    let passed = store.fence_of(Duration::ZERO);

    let recorded = store
        .record_manifest(&a, &digest(1), &manifest, &[v1], &how, passed)
        .await;

    assert!(!recorded.unwrap());
    let deleted = storage.deleted(&a, Page::first(10)).await.unwrap();
    assert!(deleted.items.is_empty(), "{deleted:?}");
}

/// Starts the deletion of a manifest by another replica, which dies with its runtime.
async fn begin_to_delete(remote: &Remote, number: usize) -> tokio::runtime::Runtime {
    let storage = noting(remote).await;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move {
        storage
            .delete_manifest(&name("a"), &digest(number), Deletion::new())
            .await
    });
    runtime
}

#[tokio::test]
async fn a_put_outlasts_the_removal_by_a_replica_that_dies() {
    let remote = Remote::start().await;
    let storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let record = keys::revision(&name("a"), &digest(1));
    let (removal, look) = (Gate::new(), Gate::new());
    let delay = |gate: &Gate| Fault::Delay(gate.clone());
    // The last request before the removal. The tags have been listed.
    remote.proxy.fault(on(Kind::Put).key(keys::GONE), delay(&removal));
    let removed = on(Kind::Delete).key(&record);
    remote.proxy.fault(removed, Fault::CutAfterEffect);
    let other = begin_to_delete(&remote, 1).await;
    assert!(removal.reached(1).await);
    let notes = keys::deleting(&name("a"), &digest(1));
    remote.proxy.fault(on(Kind::List).key(&notes), delay(&look));
    let again = tokio::spawn({
        let storage = storage.clone();
        async move {
            // As a client that is told to come back later.
            loop {
                let mut again =
                    PutManifest::new(image(1), MediaType::parse(MediaType::OCI_MANIFEST).unwrap());
                again.tags = vec![TagMove::new(tag("v2"))];
                match storage.put_manifest(&name("a"), again).await {
                    Err(StorageError::Unavailable { .. }) => {}
                    outcome => return outcome.unwrap(),
                }
            }
        }
    });
    assert!(look.reached(1).await);
    // The put has found its record.
    let has_looked = || {
        let seen = remote.proxy.seen();
        let is_put = |seen: &Seen| seen.kind == Kind::Put && seen.key.contains(&record);
        let put = seen.iter().rposition(is_put).unwrap();
        let is_look = |seen: &Seen| seen.kind == Kind::Get && seen.key.contains(&record);
        seen.iter()
            .skip(put)
            .any(|seen| is_look(seen) && seen.status.is_some())
    };
    while !has_looked() {
        tokio::task::yield_now().await;
    }

    removal.open();
    while storage.store.bucket.head(&record).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    other.shutdown_background();
    look.open();

    assert!(again.await.unwrap().failed.is_none());
    let seen = remote.proxy.seen();
    let looks = seen
        .iter()
        .filter(|seen| seen.kind == Kind::List && seen.key.contains(&notes));
    assert!(looks.count() > 2, "the put has not waited");
    let link = storage.store.revision_link(&name("a"), &digest(1)).await;
    assert_eq!(link.unwrap(), Link::To(digest(1)));
    assert_eq!(resolve(&storage, "v2").await, Some(digest(1)));
}

#[tokio::test]
async fn a_put_goes_on_soon_after_a_deletion_that_was_answered() {
    let remote = Remote::start().await;
    let mut storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    // Nobody waits for what may be late.
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.gate.times.lateness = Duration::from_secs(3600);
    for _ in 0..2 {
        let deleted = storage
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await;
        assert_eq!(deleted.unwrap(), Some(vec![tag("v1")]));

        put(&storage, 1, &["v1"]).await;

        assert_eq!(resolve(&storage, "v1").await, Some(digest(1)));
    }
    let notes = || storage.store.list_all(keys::DELETING);
    assert_eq!(notes().await.unwrap().len(), 2);
    let hour = Duration::from_secs(3600);
    storage.store.sweep_deletions(hour).await.unwrap();
    assert_eq!(notes().await.unwrap().len(), 2);
    storage.store.sweep_deletions(Duration::ZERO).await.unwrap();
    assert_eq!(notes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_deletion_that_follows_a_stopped_one_does_not_end_the_note_of_that() {
    let remote = Remote::start().await;
    let mut storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let gate = Gate::new();
    let removal = on(Kind::Delete).key(keys::revision(&name("a"), &digest(1)));
    remote.proxy.fault(removal, Fault::Delay(gate.clone()));
    let other = begin_to_delete(&remote, 1).await;
    assert!(gate.reached(1).await);
    other.shutdown_background();
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.gate.times.lateness = Duration::from_secs(3600);

    let deleted = storage
        .delete_manifest(&name("a"), &digest(1), Deletion::new())
        .await;

    assert_eq!(deleted.unwrap(), Some(Vec::new()));
    let waited = storage.store.outlast_deletion(&name("a"), &digest(1)).await;
    assert!(
        matches!(waited, Err(StorageError::Unavailable { .. })),
        "{waited:?}"
    );
}

#[tokio::test]
async fn the_removal_of_a_past_target_does_not_take_effect_after_the_deletion_of_the_tag() {
    let remote = Remote::start().await;
    let (storage, other) = (faulty(&remote).await, remote.open(false).await);
    put(&storage, 1, &["v1"]).await;
    let gate = Gate::new();
    let entry = on(Kind::Delete).key("/v1/index/");
    let rule = remote.proxy.fault(entry, Fault::Delay(gate.clone()));
    let deletion = tokio::spawn(async move {
        storage
            .delete_tag(&name("a"), &tag("v1"), TagExpect::Any, Deletion::new())
            .await
    });
    assert!(gate.reached(1).await);
    put(&other, 2, &["v1"]).await;
    put(&other, 1, &["v1"]).await;

    let deleted = deletion.await.unwrap();
    gate.open();
    while remote.proxy.seen().iter().any(|seen| seen.status.is_none()) {
        tokio::task::yield_now().await;
    }

    assert_eq!((deleted.unwrap(), rule.happened()), (Some(digest(1)), 1));
    let (a, page) = (name("a"), Page::first(10));
    let pointing = other.store.tag_of_page(&a, &digest(1), page).await.unwrap();
    assert_eq!(pointing.items, [tag("v1")]);
}

#[tokio::test]
async fn damaged_content_is_not_removed_late_where_a_removal_has_no_condition() {
    let remote = Remote::start().await;
    let mut storage = faulty(&remote).await;
    Arc::get_mut(&mut storage.store).unwrap().rung = Rung::Log;
    let (a, store) = (name("a"), &storage.store);
    let content = Digest::of(Algorithm::Sha256, b"content");
    let (data, link) = (keys::blob(&content), keys::layer(&a, &content));
    store.bucket.put(&data, "damaged").await.unwrap();
    store.bucket.put(&link, content.to_string()).await.unwrap();
    let removal = on(Kind::ConditionalDelete).key(&data);
    let rule = remote.proxy.fault(removal, Fault::Cut);
    let began = now(&store.bucket);

    let needs = [Needed::new(content, 1, Need::Blob)];
    let fence = store.fence_of(store.moving);
    let checked = store.check_needs(&a, &needs, SizePolicy::Any, fence).await;

    assert!(
        matches!(checked, Err(StorageError::MissingReferences(_))),
        "{checked:?}"
    );
    assert_eq!(rule.happened(), 1);
    let passed = now(&store.bucket).since(began);
    let times = store.gate.times;
    assert!(passed > times.lateness + times.margin, "{passed:?}");
}

#[tokio::test]
async fn a_deletion_that_fails_leaves_a_link_that_other_programs_can_read() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    let (a, v1, bucket) = (name("a"), tag("v1"), &storage.store.bucket);
    put(&storage, 1, &["v1"]).await;
    let refused = Fault::Answer(StatusCode::FORBIDDEN);
    for request in [
        on(Kind::List).key("_history").after(1),
        on(Kind::ConditionalPut).key("_trash"),
        on(Kind::Put).key("_history"),
        on(Kind::Put).key("_changes"),
        on(Kind::ConditionalDelete).key("/v1/current/link"),
    ] {
        let seen = storage.store.seen_tag(&a, &v1).await.unwrap().unwrap();
        let version = seen.whole().unwrap().version.unwrap();
        let rule = remote.proxy.fault(request, refused.clone());

        let unchanged = TagExpect::Unchanged(digest(1), version);
        let failed = storage.delete_tag(&a, &v1, unchanged, Deletion::new()).await;

        assert!(failed.is_err() && rule.happened() == 1, "{failed:?}");
        let link = bucket.get(&keys::tag(&a, &v1)).await.unwrap().unwrap();
        assert_eq!(link.bytes, digest(1).to_string(), "{rule:?}");
    }
}

#[tokio::test]
async fn a_deletion_that_takes_two_sections_ends_its_note() {
    let remote = Remote::start().await;
    let mut storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let removal = on(Kind::Delete).key(keys::revision(&name("a"), &digest(1)));
    let rule = remote.proxy.fault(removal, Fault::Cut);
    let deleted = storage
        .delete_manifest(&name("a"), &digest(1), Deletion::new())
        .await;
    assert_eq!((deleted.unwrap(), rule.happened()), (Some(vec![tag("v1")]), 1));

    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.gate.times.lateness = Duration::from_secs(3600);
    let waited = store.outlast_deletion(&name("a"), &digest(1)).await;
    assert!(waited.is_ok(), "{waited:?}");
}

#[tokio::test]
async fn a_deletion_that_has_sent_no_removal_ends_its_note() {
    let remote = Remote::start().await;
    let mut storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    // The last request before the removal.
    let refused = Fault::Answer(StatusCode::FORBIDDEN);
    let rule = remote.proxy.fault(on(Kind::Put).key(keys::GONE), refused);
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.gate.times.lateness = Duration::from_secs(3600);

    let deleted = storage
        .delete_manifest(&name("a"), &digest(1), Deletion::new())
        .await;

    assert!(deleted.is_err() && rule.happened() == 1, "{deleted:?}");
    let waited = storage.store.outlast_deletion(&name("a"), &digest(1)).await;
    assert!(matches!(waited, Ok(false)), "{waited:?}");
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_ends_its_note_when_nothing_is_on_its_way() {
    let remote = Remote::start().await;
    let mut storage = noting(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let removal = on(Kind::Delete).key(keys::revision(&name("a"), &digest(1)));
    let rule = remote.proxy.fault(removal, Fault::CutAfterEffect);
    let began = now(&storage.store.bucket);

    let deleted = storage
        .delete_manifest(&name("a"), &digest(1), Deletion::new())
        .await;

    assert_eq!((deleted.unwrap(), rule.happened()), (Some(vec![tag("v1")]), 1));
    let times = storage.store.gate.times;
    let passed = now(&storage.store.bucket).since(began);
    assert!(passed > times.lateness + times.margin, "{passed:?}");
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.gate.times.lateness = Duration::from_secs(3600);
    let waited = store.outlast_deletion(&name("a"), &digest(1)).await;
    assert!(matches!(waited, Ok(false)), "{waited:?}");
}

#[tokio::test]
async fn a_deletion_that_takes_a_tag_of_a_manifest_that_comes_meanwhile_takes_the_manifest() {
    let remote = Remote::start().await;
    let (storage, other) = (faulty(&remote).await, remote.open(false).await);
    put(&other, 2, &["v2"]).await;
    let gate = Gate::new();
    let listing = on(Kind::List).key(keys::tags(&name("a")));
    remote.proxy.fault(listing, Fault::Delay(gate.clone()));
    let deletion = tokio::spawn(async move {
        storage
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await
    });
    assert!(gate.reached(1).await);
    put(&other, 1, &["v1"]).await;
    gate.open();

    assert_eq!(deletion.await.unwrap().unwrap(), Some(vec![tag("v1")]));
    let link = other.store.revision_link(&name("a"), &digest(1)).await;
    assert_eq!((link.unwrap(), resolve(&other, "v1").await), (Link::None, None));
}

#[tokio::test]
async fn the_entry_that_a_stopped_deletion_has_left_is_not_removed_after_a_put() {
    let remote = Remote::start().await;
    let (storage, other) = (faulty(&remote).await, remote.open(false).await);
    let (a, v1) = (name("a"), tag("v1"));
    let entry = keys::tag_index(&a, &v1, &digest(1));
    let text = digest(1).to_string();
    other.store.bucket.put(&entry, text).await.unwrap();
    storage.store.leftovers.add(&a, v1, vec![entry.clone()]);
    let gate = Gate::new();
    let removal = on(Kind::Delete).key("/v1/index/");
    let rule = remote.proxy.fault(removal, Fault::Delay(gate.clone()));
    let trim = tokio::spawn(async move { storage.store.trim_changes().await });
    assert!(gate.reached(1).await);
    put(&other, 1, &["v1"]).await;

    let trimmed = trim.await.unwrap();
    gate.open();
    while remote.proxy.seen().iter().any(|seen| seen.status.is_none()) {
        tokio::task::yield_now().await;
    }

    assert!(trimmed.is_ok() && rule.happened() == 1, "{trimmed:?}");
    assert!(other.store.bucket.head(&entry).await.unwrap().is_some());
}

#[tokio::test]
async fn a_tag_can_be_put_while_the_removal_of_its_past_targets_has_no_answer() {
    let remote = Remote::start().await;
    let storage = faulty(&remote).await;
    put(&storage, 1, &["v1"]).await;
    let (index, gate) = ("/v1/index/", Gate::new());
    remote.proxy.fault(on(Kind::Delete).key(index), Fault::Cut);
    // It is looked at while the removal may take effect.
    let look = on(Kind::Head).key(index);
    remote.proxy.fault(look, Fault::DelayAnswer(gate.clone()));
    let deleting = tokio::spawn({
        let storage = storage.clone();
        async move {
            storage
                .delete_tag(&name("a"), &tag("v1"), TagExpect::Any, Deletion::new())
                .await
        }
    });
    assert!(gate.reached(1).await);

    let (repository, v1) = (name("a"), tag("v1"));
    let mut turn = std::pin::pin!(storage.store.turns.take(&repository, &v1));
    assert!(futures_util::poll!(&mut turn).is_ready());
    gate.open();

    assert_eq!(deleting.await.unwrap().unwrap(), Some(digest(1)));
    let past = storage.store.past_targets(&name("a"), &tag("v1")).await;
    assert!(past.unwrap().is_empty());
}

/// Amazon S3 and versitygw refuse a write while another one of the same object is under way.
#[tokio::test]
async fn a_manifest_is_put_although_the_store_refuses_its_writes_for_a_while() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let record = keys::revision(&name("a"), &digest(1));
    let writes = [
        on(Kind::Put).key(record),
        on(Kind::ConditionalPut).key("/v1/current/link"),
    ];
    let refused = Fault::Answer(StatusCode::CONFLICT);
    let rules = writes.map(|write| remote.proxy.fault(write.first(5), refused.clone()));

    let outcome = put(&storage, 1, &["v1"]).await;

    assert!(outcome.failed.is_none(), "{outcome:?}");
    assert_eq!(rules.map(|rule| rule.happened()), [5, 5]);
    assert_eq!(resolve(&storage, "v1").await, Some(digest(1)));
}

/// To take a mark off is a plain write on a store that keeps no preconditions.
#[tokio::test]
async fn a_mark_is_taken_off_in_the_turn_of_the_tag() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let (a, v1) = (name("a"), tag("v1"));
    put(&storage, 1, &["v1"]).await;
    let (link, gate) = (keys::tag(&a, &v1), Gate::new());
    let marked = format!("{} mark", digest(1));
    storage.store.bucket.put(&link, marked).await.unwrap();
    let look = on(Kind::Get).key(&link);
    remote.proxy.fault(look, Fault::DelayAnswer(gate.clone()));
    let tidying = tokio::spawn({
        let (storage, a, v1) = (storage.clone(), a.clone(), v1.clone());
        async move { storage.store.tidy_link(&a, &v1).await }
    });
    assert!(gate.reached(1).await);

    let mut turn = std::pin::pin!(storage.store.turns.take(&a, &v1));
    assert!(futures_util::poll!(&mut turn).is_pending());
    gate.open();

    tidying.await.unwrap().unwrap();
    let link = storage.store.bucket.get(&link).await.unwrap().unwrap();
    assert_eq!(link.bytes, digest(1).to_string());
}
