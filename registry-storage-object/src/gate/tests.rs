use super::*;
use crate::{
    bucket::MARGIN,
    collect::tests::{self, Stops},
    location::{Asking, Location},
    support::{self, Remote},
};
use futures_util::TryStreamExt as _;
use http::StatusCode;
use object_store::memory::InMemory;
use object_stores::proxy::{Fault, Kind, on};
use registry_core::{
    Algorithm,
    storage::{Storage as _, Victim},
};
use std::time::SystemTime;

/// A bucket with a collection that has condemned items.
struct Setting {
    memory: Arc<InMemory>,
    bucket: Bucket,
    gate: Gate,
    name: RepositoryName,
    digest: Digest,
}

fn gate(process: Arc<Process>) -> Gate {
    let times = Times::usual(Duration::from_secs(60));
    Gate::new(process, Rung::Conditional, Reach::Replicas, times)
}

impl Setting {
    async fn with(condemned: impl FnOnce(&RepositoryName, &Digest) -> Vec<Victim>) -> Self {
        let memory = Arc::new(InMemory::new());
        let bucket = tests::bucket(&memory, &Stops::never());
        let gate = gate(Arc::default());
        let name = RepositoryName::parse("team/app").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"content");
        let marks = condemned(&name, &digest).iter().map(Mark::of).collect();
        let bytes = Condemned::default().add("list", marks);
        bucket.put(&keys::condemned("list"), bytes).await.unwrap();
        let idle = gate.stored(&bucket).await.unwrap();
        let changed = idle.change(&bucket, gate.rung, |state| state.lists = vec!["list".into()]);
        changed.await.unwrap().unwrap();
        Self {
            memory,
            bucket,
            gate,
            name,
            digest,
        }
    }

    async fn link() -> Self {
        Self::with(|name, digest| vec![Victim::Link(name.clone(), *digest)]).await
    }

    async fn promise(&self) -> Result<()> {
        let view = self.gate.view(&self.bucket).await?;
        let items = [Promised::Blob(&self.name, &self.digest)];
        self.gate.promise(&self.bucket, &view, &items).await
    }

    async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self
            .bucket
            .list(&keys::all_rescued(0))
            .map_ok(|meta| meta.key)
            .try_collect()
            .await
            .unwrap();
        keys.sort_unstable();
        keys
    }

    /// Announces removals that are never over.
    async fn dying(&self, victim: &Victim) -> Arc<Batch> {
        self.announce(End::Open, victim).await
    }

    async fn announce(&self, end: End, victim: &Victim) -> Arc<Batch> {
        let (batches, marks) = (&self.gate.process.batches, [Mark::of(victim)]);
        let batch = batches.announce(&self.bucket, self.gate.rung, 0, end, &marks);
        batch.await.unwrap()
    }

    /// Returns another process, whose listings lack all keys with this part.
    fn replica(&self, omitted: &'static str) -> Self {
        let bucket = tests::bucket(&self.memory, &Stops::omitting(omitted));
        Self {
            gate: gate(Arc::default()),
            bucket,
            memory: Arc::clone(&self.memory),
            name: self.name.clone(),
            digest: self.digest,
        }
    }
}

#[tokio::test]
async fn a_promise_writes_something_only_for_condemned_items() {
    let other = Digest::of(Algorithm::Sha256, b"other");
    let setting = Setting::with(|name, _| vec![Victim::Link(name.clone(), other)]).await;
    setting.promise().await.unwrap();
    assert!(setting.keys().await.is_empty());

    let setting = Setting::link().await;
    setting.promise().await.unwrap();
    let mark = Mark::link(&setting.name, &setting.digest);
    assert_eq!(setting.keys().await, [keys::rescued(0, mark)]);
}

#[tokio::test]
async fn a_promise_of_a_manifest_protects_its_record_and_names_it() {
    let setting = Setting::with(|name, digest| vec![Victim::Manifest(name.clone(), *digest)]).await;
    let view = setting.gate.view(&setting.bucket).await.unwrap();
    let items = [Promised::Manifest(&setting.name, &setting.digest)];
    setting
        .gate
        .promise(&setting.bucket, &view, &items)
        .await
        .unwrap();

    let key = keys::rescued(0, Mark::manifest(&setting.name, &setting.digest));
    let named = setting.bucket.get(&key).await.unwrap().unwrap().bytes;
    assert_eq!(named, format!("team/app@{}", setting.digest));
}

#[tokio::test(start_paused = true)]
async fn a_promise_of_what_is_being_removed_waits_until_that_is_over() {
    let setting = Setting::link().await;
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let batch = setting.dying(&link).await;

    let refused = setting.promise().await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
    let view = setting.gate.view(&setting.bucket).await.unwrap();
    let items = [Promised::Blob(&setting.name, &setting.digest)];
    let offered = setting.gate.offer(&setting.bucket, &view, &items).await;
    assert!(!offered.unwrap(), "it counts as absent");

    let over = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let batches = &setting.gate.process.batches;
        let finished = batches.shorten(&setting.bucket, 0, &batch, End::Over);
        finished.await.unwrap();
    };
    let began = Instant::now();
    let (promised, ()) = tokio::join!(setting.promise(), over);
    promised.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_promise_does_not_wait_for_the_removal_of_something_else() {
    let setting = Setting::link().await;
    let other = RepositoryName::parse("team/other").unwrap();
    for other in [Victim::Data(setting.digest), Victim::Link(other, setting.digest)] {
        setting.dying(&other).await;
        setting.promise().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_does_not_wait_for_removals_that_have_expired() {
    let setting = Setting::link().await;
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let long_ago = End::By(StoreTime::default(), Duration::from_secs(150));
    setting.announce(long_ago, &link).await;
    setting.promise().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_promise_waits_for_removals_that_a_slow_node_may_still_accept() {
    let setting = Setting::link().await;
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let lasts = Duration::from_secs(150);
    // The clock of the node that this process has asked is ahead of that of the collection.
    let passed = now(&setting.bucket).before(MARGIN / 2);
    setting.announce(End::By(passed, lasts), &link).await;

    let refused = setting.promise().await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
    tokio::time::advance(lasts).await;
    setting.promise().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_sooner_once_its_removals_are_answered() {
    let setting = Setting::link().await;
    let replica = setting.replica("none");
    let marks = [Mark::link(&setting.name, &setting.digest)];
    let fence = Fence {
        told: now(&setting.bucket),
        valid: Duration::from_secs(30),
    };
    let lasts = fence.valid + setting.gate.times.lateness;
    let mut left = Vec::new();
    for is_answered in [true, false] {
        let batch = setting.gate.announce(&setting.bucket, 0, fence, &marks);
        let batch = batch.await.unwrap();
        let known = replica.promise().await;
        assert!(
            matches!(known, Err(StorageError::Unavailable { .. })),
            "{known:?}"
        );
        let finished = setting
            .gate
            .finish(&setting.bucket, 0, &batch, fence, is_answered);
        finished.await.unwrap();

        let began = Instant::now();
        for gate in [&replica.gate, &setting.gate] {
            gate.settle(&setting.bucket, 0, u64::MAX).await.unwrap();
        }
        left.push(began.elapsed());
    }
    assert!(left[0] < lasts + Duration::from_secs(10), "{left:?}");
    assert!(left[1] > lasts + MARGIN - Duration::from_secs(30), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_waited_for_from_the_time_at_which_it_is_known() {
    let setting = Setting::link().await;
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let lasts = Duration::from_secs(150);
    let end = End::By(now(&setting.bucket).after(lasts), lasts);
    setting.announce(end, &link).await;
    let began = Instant::now();
    // Nobody waits for one that was announced later.
    setting.gate.settle(&setting.bucket, 0, 0).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    setting.gate.settle(&setting.bucket, 0, 1).await.unwrap();
    assert!(began.elapsed() >= lasts && began.elapsed() < lasts + Duration::from_secs(10));

    let successor = setting.replica("none");
    let began = Instant::now();
    successor.gate.settle(&setting.bucket, 0, 1).await.unwrap();
    assert!(began.elapsed() >= lasts);
}

#[tokio::test(start_paused = true)]
async fn a_view_beside_a_collection_reads_the_announcements_of_removals() {
    let setting = Setting::link().await;
    let replica = setting.replica("none");
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let lasts = Duration::from_secs(150);
    setting
        .announce(End::By(now(&setting.bucket).after(lasts), lasts), &link)
        .await;
    replica.gate.view(&replica.bucket).await.unwrap();

    tokio::time::advance(lasts + Duration::from_secs(10)).await;
    // It was known early.
    replica.promise().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn removals_are_known_whatever_a_listing_lacks() {
    let setting = Setting::link().await;
    let replica = setting.replica("_collect/batches");
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let other = Victim::Data(Digest::of(Algorithm::Sha256, b"other"));
    // The replica has read the first ones.
    setting.dying(&other).await;
    let batches = &replica.gate.process.batches;
    let mark = Mark::of(&other);
    assert!(
        batches
            .is_any_dying(&replica.bucket, 0, MARGIN, &[mark])
            .await
            .unwrap()
    );
    setting.dying(&other).await;
    setting.dying(&link).await;

    let refused = replica.promise().await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
    // A successor goes on with the same log.
    let late = replica.dying(&link).await;
    let known = [&setting, &replica].map(|setting| &setting.gate.process.batches);
    for batches in known {
        let mark = Mark::of(&link);
        assert!(
            batches
                .is_any_dying(&setting.bucket, 0, MARGIN, &[mark])
                .await
                .unwrap()
        );
    }
    assert_eq!(
        setting
            .bucket
            .get(&keys::batch(0, 3))
            .await
            .unwrap()
            .unwrap()
            .bytes,
        late.to_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_is_listed_and_cannot_be_read_is_an_error() {
    let setting = Setting::link().await;
    setting.bucket.put(&keys::batch(0, 3), "").await.unwrap();
    let refused = setting.promise().await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_is_lost_or_damaged_is_over_once_it_is_old() {
    for damaged in [Some(""), Some("1 2"), None] {
        let setting = Setting::link().await;
        let link = Victim::Link(setting.name.clone(), setting.digest);
        let lasts = Duration::from_secs(150);
        for _ in 0..2 {
            setting
                .announce(End::By(now(&setting.bucket).after(lasts), lasts), &link)
                .await;
        }
        let key = keys::batch(0, 0);
        match damaged {
            Some(text) => setting.bucket.put(&key, text).await.unwrap(),
            None => setting.bucket.delete(&key).await.unwrap(),
        }
        let replica = setting.replica("none");
        let number = || replica.gate.process.batches.number(&replica.bucket, 0);
        let refused = number().await;
        assert!(
            matches!(refused, Err(StorageError::Unavailable { .. })),
            "{damaged:?}: {refused:?}"
        );

        let date = SystemTime::now() + Duration::from_secs(4 * 60 * 60);
        let date = httpdate::fmt_http_date(date).parse().unwrap();
        let headers = [(http::header::DATE, date)].into_iter().collect();
        replica.bucket.observed().answer(&headers, Instant::now());
        assert_eq!(number().await.unwrap(), 2, "{damaged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_lists_only_the_newest_announcements_and_passes_over_old_ones() {
    let setting = Setting::link().await;
    let other = Victim::Data(Digest::of(Algorithm::Sha256, b"other"));
    let over = setting.dying(&other).await.with_end(End::Over).to_bytes();
    for number in 0..=keys::BATCHES_BESIDE {
        let key = keys::batch(0, number);
        setting.bucket.put(&key, over.clone()).await.unwrap();
    }
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let successor = setting.replica("none");
    successor.dying(&link).await;
    let number = keys::BATCHES_BESIDE + 2;
    let stops = Stops::never();
    let read = async |bucket: &Bucket, batches: &Batches| {
        let before = stops.answered();
        let found = batches.number(bucket, 0).await.unwrap();
        assert_eq!(found, number);
        stops.answered() - before
    };
    let bucket = tests::bucket(&setting.memory, &stops);
    let batches = Batches::default();
    assert!(read(&bucket, &batches).await >= number);
    assert_eq!(read(&bucket, &batches).await, 2, "a look and a listing");
    let marks = [Mark::of(&link)];
    assert!(batches.is_any_dying(&bucket, 0, MARGIN, &marks).await.unwrap());

    let date = SystemTime::now() + Duration::from_secs(4 * 60 * 60);
    let date = httpdate::fmt_http_date(date).parse().unwrap();
    let headers = [(http::header::DATE, date)].into_iter().collect();
    let bucket = tests::bucket(&setting.memory, &stops);
    bucket.observed().answer(&headers, Instant::now());
    assert_eq!(
        read(&bucket, &Batches::default()).await,
        4,
        "two listings, and a look"
    );
}

#[tokio::test(start_paused = true)]
async fn announcements_that_are_over_take_no_memory_where_nobody_looks() {
    let setting = Setting::link().await;
    let other = Victim::Data(Digest::of(Algorithm::Sha256, b"other"));
    let lasts = Duration::from_secs(150);
    for _ in 0..3 {
        setting
            .announce(End::By(now(&setting.bucket).after(lasts), lasts), &other)
            .await;
        tokio::time::advance(2 * lasts).await;
    }
    assert_eq!(setting.gate.process.batches.remembered(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_does_not_read_its_own_announcements() {
    let setting = Setting::link().await;
    let link = Victim::Link(setting.name.clone(), setting.digest);
    let batch = setting.dying(&link).await;
    // Nobody else changes them.
    let over = batch.with_end(End::Over);
    setting
        .bucket
        .put(&keys::batch(0, 0), over.to_bytes())
        .await
        .unwrap();
    let refused = setting.promise().await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
    setting.replica("none").promise().await.unwrap();
}

#[tokio::test]
async fn of_two_changes_from_the_same_state_one_is_made() {
    for rung in [Rung::Conditional, Rung::Log] {
        let location = Location::memory();
        let bucket = location.bucket("", &Asking::default()).unwrap();
        let mut before = Stored::load(&bucket, rung, &Newest::default()).await.unwrap();
        for _ in 0..3 {
            let change = |holder: &'static str| {
                let change = move |state: &mut State| state.holder = Some(holder.into());
                before.change(&bucket, rung, change)
            };
            let (one, two) = tokio::join!(change("one"), change("two"));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert!(one.is_some() != two.is_some(), "{rung:?}");
            before = one.or(two).unwrap();
            let stored = Stored::load(&bucket, rung, &Newest::default()).await.unwrap();
            assert_eq!(stored.state, before.state);
        }
    }
}

#[tokio::test]
async fn a_listing_that_lacks_the_newest_states_is_no_view_of_the_past() {
    let bucket = Location::memory().bucket("", &Asking::default()).unwrap();
    let mut last = Stored::load(&bucket, Rung::Log, &Newest::default())
        .await
        .unwrap();
    for epoch in 1..4 {
        let changed = last.change(&bucket, Rung::Log, |state| state.epoch = epoch);
        last = changed.await.unwrap().unwrap();
    }
    for listed in [None, Some(0), Some(1), Some(2)] {
        let found = Stored::newest(&bucket, listed).await.unwrap();
        assert_eq!(found.state, last.state, "{listed:?}");
    }
}

#[tokio::test]
async fn a_process_that_has_read_a_state_does_not_rely_on_listings() {
    let memory = Arc::new(InMemory::new());
    let bucket = tests::bucket(&memory, &Stops::omitting("_collect/states"));
    let newest = Newest::default();
    let mut last = Stored::load(&bucket, Rung::Log, &newest).await.unwrap();
    for epoch in 1..4 {
        let changed = last.change(&bucket, Rung::Log, |state| state.epoch = epoch);
        last = changed.await.unwrap().unwrap();
    }
    let read = Stored::load(&bucket, Rung::Log, &newest).await.unwrap();
    assert_eq!(read.state, last.state);

    // It does not read all of them again.
    bucket.delete(&keys::collection_entry(0)).await.unwrap();
    let read = Stored::load(&bucket, Rung::Log, &newest).await.unwrap();
    assert_eq!(read.state, last.state);
    bucket.delete(&keys::collection_entry(2)).await.unwrap();
    let refused = Stored::load(&bucket, Rung::Log, &newest).await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_collection_waits_for_the_sections_that_began_before() {
    let setting = Setting::link().await;
    let process = &setting.gate.process;
    let view = setting.gate.view(&setting.bucket).await.unwrap();
    let mut drained = std::pin::pin!(process.drain());
    assert!(futures_util::poll!(&mut drained).is_pending());

    let later = setting.gate.view(&setting.bucket).await.unwrap();
    drop(view);
    drained.await;
    drop(later);
}

#[tokio::test]
async fn the_end_of_a_collection_is_known_once_it_is_forgotten_here() {
    let setting = Setting::link().await;
    let view = setting.gate.view(&setting.bucket).await.unwrap();
    assert!(!view.condemned.is_empty());
    let stored = setting.gate.stored(&setting.bucket).await.unwrap();
    let ended = stored.change(&setting.bucket, setting.gate.rung, |state| {
        state.lists.clear();
        state.epoch += 1;
    });
    ended.await.unwrap().unwrap();

    setting.gate.process.forget().await;

    let view = setting.gate.view(&setting.bucket).await.unwrap();
    assert!(view.condemned.is_empty());
    assert_eq!(view.epoch, 1);
}

#[tokio::test]
async fn a_state_that_goes_back_is_refused() {
    let setting = Setting::link().await;
    let known = setting.gate.read(&setting.bucket, None).await.unwrap();
    // Something in front of the store answers in its place.
    setting.bucket.delete(keys::COLLECTION).await.unwrap();
    let refused = setting.gate.read(&setting.bucket, Some(known)).await;
    assert!(matches!(refused, Err(StorageError::Unavailable { .. })));
}

#[tokio::test]
async fn a_state_that_goes_back_is_refused_also_after_the_end_of_a_run() {
    let setting = Setting::link().await;
    setting.gate.view(&setting.bucket).await.unwrap();
    setting.gate.process.forget().await;
    setting.bucket.delete(keys::COLLECTION).await.unwrap();
    let refused = setting.gate.view(&setting.bucket).await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_process_that_has_just_started_knows_that_there_is_a_state() {
    let remote = Remote::start().await;
    let state = || on(Kind::Get).key(keys::COLLECTION);
    let absent = || Fault::Answer(StatusCode::NOT_FOUND);
    let first = remote.open(true).await;
    assert!(
        first
            .store
            .gate
            .stored(&first.store.bucket)
            .await
            .unwrap()
            .exists()
    );
    // Something in front of the store answers in its place, for a while.
    let rule = remote.proxy.fault(state(), absent());

    let storage = remote.open(true).await;

    assert_eq!(rule.happened(), 1);
    remote.proxy.fault(state().always(), absent());
    let blob = Digest::of(Algorithm::Sha256, b"content");
    let refused = storage.blob(&support::name("a"), &blob).await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_state_is_changed_although_the_store_refuses_that_for_a_while() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let (gate, bucket) = (&storage.store.gate, &storage.store.bucket);
    let stored = gate.stored(bucket).await.unwrap();
    let change = on(Kind::ConditionalPut).key(keys::COLLECTION).first(5);
    let rule = remote
        .proxy
        .fault(change, Fault::Answer(StatusCode::PRECONDITION_FAILED));

    let changed = stored.change(bucket, gate.rung, |state| state.epoch += 1).await;

    assert_eq!((changed.unwrap().unwrap().state.epoch, rule.happened()), (1, 5));
}
