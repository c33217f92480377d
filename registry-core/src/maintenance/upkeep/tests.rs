use super::*;
use crate::{
    Registry,
    digest::Algorithm,
    forward_storage,
    reference::Tag,
    service::ManifestPush,
    storage::{
        Listing, MemoryStorage, Page, Seen, StorageCollect, StorageExpire, StorageHealth, StorageTrash,
        StorageWrite, Trashed,
    },
    upload_id::UploadId,
};
use async_trait::async_trait;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

#[test]
fn sessions_without_a_byte_go_sooner_and_never_later() {
    let usual = UploadExpiry::default();
    assert_eq!(usual.empty.age, HOUR);
    assert_eq!(usual.empty.interval, Duration::from_secs(300));

    let eager = UploadExpiry::new(Duration::from_secs(60), Duration::from_secs(10));
    assert_eq!(eager.empty, eager.any);
    assert_eq!(UploadExpiry::new(HOUR, Duration::ZERO).any.interval, MIN_INTERVAL);
}

/// Clock that advances while somebody sleeps, up to an end.
struct Advancing {
    start: SystemTime,
    end: Duration,
    /// Time that has passed, and the number of sleeps.
    passed: Mutex<(Duration, usize)>,
    /// Seconds by which the wall clock is ahead, and by which it is set at the next sleep.
    ahead: Mutex<(i64, i64)>,
    /// True if the host knows the time since the boot.
    knows_boot: bool,
    ended: Notify,
}

#[async_trait]
impl Clock for Advancing {
    fn now(&self) -> SystemTime {
        let right = self.start + self.passed.lock().unwrap().0;
        let (ahead, _) = *self.ahead.lock().unwrap();
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { right - by } else { right + by }
    }

    fn since_boot(&self) -> Option<Duration> {
        self.knows_boot.then(|| HOUR + self.passed.lock().unwrap().0)
    }

    async fn sleep(&self, duration: Duration) {
        let over = {
            let mut passed = self.passed.lock().unwrap();
            let over = passed.0 + duration > self.end;
            if !over {
                *passed = (passed.0 + duration, passed.1 + 1);
                let mut ahead = self.ahead.lock().unwrap();
                *ahead = (ahead.0 + ahead.1, 0);
            }
            over
        };
        if over {
            self.ended.notify_one();
            std::future::pending().await
        }
    }
}

fn clock(start: SystemTime, end: Duration) -> Advancing {
    Advancing {
        start,
        end,
        passed: Mutex::default(),
        ahead: Mutex::default(),
        knows_boot: false,
        ended: Notify::new(),
    }
}

/// Runs the upkeep from `start` on. Returns the number of sleeps.
async fn run_for(registry: &Registry, start: SystemTime, end: Duration) -> usize {
    let clock = clock(start, end);
    run(&registry.upkeep(), &clock).await;
    clock.passed.into_inner().unwrap().1
}

/// Runs the upkeep until the end of the clock.
async fn run(upkeep: &Upkeep, clock: &Advancing) {
    tokio::select! {
        never = upkeep.run(clock) => match never {},
        () = clock.ended.notified() => {}
    }
}

/// Opens an empty session, and one with a byte. Returns the time at which the last one was touched, too.
async fn opened(registry: &Registry) -> (UploadId, UploadId, SystemTime) {
    let repository = registry.repository("a").unwrap();
    let empty = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
    let begun = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
    repository.append(&begun, None, String::from("a")).await.unwrap();
    let touched = repository.upload(&begun).await.unwrap().unwrap().touched;
    (empty, begun, touched.unwrap())
}

#[tokio::test]
async fn sessions_end_after_an_hour_if_they_are_empty_and_after_a_week_otherwise() {
    let registry = Registry::builder(MemoryStorage::new()).build();
    let repository = registry.repository("a").unwrap();
    let (empty, begun, start) = opened(&registry).await;
    let open = async |id| repository.upload(id).await.unwrap().is_some();

    run_for(&registry, start, HOUR - EMPTY_INTERVAL).await;
    assert!(open(&empty).await && open(&begun).await);
    run_for(&registry, start, HOUR + EMPTY_INTERVAL).await;
    assert!(!open(&empty).await && open(&begun).await);
    assert_eq!(registry.upload_ledger().open_uploads(), 1);
    run_for(&registry, start, 7 * DAY).await;
    assert!(open(&begun).await);
    run_for(&registry, start, 8 * DAY).await;
    assert!(!open(&begun).await);
    assert_eq!(registry.upload_ledger().open_uploads(), 0);
}

/// Deletes a tag. Returns the time of the deletion.
async fn deleted(registry: &Registry) -> SystemTime {
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let repository = registry.repository("a").unwrap();
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), index);
    repository.put_manifest(push).await.unwrap();
    assert!(repository.delete_manifest("v1").await.unwrap());
    records(registry).await[0].id.time()
}

async fn records(registry: &Registry) -> Vec<Trashed> {
    let repository = registry.repository("a").unwrap();
    let trash = registry.storage().trash().unwrap();
    let listed = trash.deleted(repository.name(), Page::first(10)).await.unwrap();
    listed.items.into_iter().filter_map(Seen::whole).collect()
}

#[tokio::test]
async fn records_of_deletions_expire_after_a_week() {
    let registry = Registry::builder(MemoryStorage::new()).build();
    let start = deleted(&registry).await;

    run_for(&registry, start, 7 * DAY).await;
    assert_eq!(records(&registry).await.len(), 1);
    run_for(&registry, start, 7 * DAY + 2 * HOUR).await;
    assert_eq!(records(&registry).await.len(), 0);
}

#[tokio::test]
async fn the_history_of_a_deleted_tag_stays_as_long_as_its_record_and_a_week() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    for (keep, age) in [(Duration::ZERO, WEEK), (2 * WEEK, 2 * WEEK)] {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let start = deleted(&registry).await;
        for (time, left) in [(age, 2), (age + 2 * DAY, 0)] {
            let clock = clock(start, time);
            let upkeep = registry.upkeep().trash(Some(keep));
            tokio::select! {
                never = upkeep.run(&clock) => match never {},
                () = clock.ended.notified() => {}
            }
            let (repository, v1) = (registry.repository("a").unwrap(), Tag::parse("v1").unwrap());
            let history = registry
                .storage()
                .trash()
                .unwrap()
                .history(repository.name(), &v1);
            assert_eq!(history.await.unwrap().len(), left, "{time:?}");
        }
    }
}

#[tokio::test]
async fn no_record_expires_for_a_day_after_the_clock_was_set() {
    for (end, left) in [(23 * HOUR, 1), (26 * HOUR, 0)] {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let clock = clock(deleted(&registry).await, end);
        clock.ahead.lock().unwrap().1 = TEN_YEARS;
        run(&registry.upkeep(), &clock).await;
        assert_eq!(records(&registry).await.len(), left);
    }
}

const TEN_YEARS: i64 = 10 * 365 * 24 * 60 * 60;

/// Runs the upkeep of a host that knows the time since the boot and has run before.
async fn run_noted(registry: &Registry, notes: &Arc<MemoryNotes>, clock: Advancing) {
    let clock = Advancing {
        knows_boot: true,
        ..clock
    };
    run(&registry.upkeep().notes(Arc::clone(notes) as _), &clock).await;
}

#[tokio::test]
async fn nothing_expires_while_the_clock_is_set_wrong_by_ten_years() {
    for jump in [TEN_YEARS, -TEN_YEARS] {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let (empty, begun, start) = opened(&registry).await;
        deleted(&registry).await;
        let notes = Arc::default();
        // The first process leaves the note, once it trusts its clock.
        run_noted(&registry, &notes, clock(start - 26 * HOUR, 25 * HOUR)).await;

        let wrong = clock(start, 30 * DAY);
        wrong.ahead.lock().unwrap().1 = jump;
        run_noted(&registry, &notes, wrong).await;

        let repository = registry.repository("a").unwrap();
        for id in [empty, begun] {
            assert!(repository.upload(&id).await.unwrap().is_some(), "{jump}");
        }
        assert_eq!(records(&registry).await.len(), 1, "{jump}");
        // Once it is right.
        run_noted(&registry, &notes, clock(start + 30 * DAY, 25 * HOUR)).await;
        assert_eq!(records(&registry).await.len(), 0, "{jump}");
        assert_eq!(registry.upload_ledger().open_uploads(), 0, "{jump}");
    }
}

#[tokio::test]
async fn no_record_expires_for_a_day_after_a_start_with_a_clock_that_was_set() {
    for (end, left) in [(23 * HOUR, 1), (25 * HOUR, 0)] {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let start = deleted(&registry).await;
        let notes = Arc::default();
        run_noted(&registry, &notes, clock(start - 26 * HOUR, 25 * HOUR)).await;

        run_noted(&registry, &notes, clock(start + 3650 * DAY, end)).await;

        assert_eq!(records(&registry).await.len(), left);
    }
}

#[tokio::test]
async fn no_record_expires_for_a_day_after_a_start_without_the_time_since_the_boot() {
    for (end, left) in [(23 * HOUR, 1), (25 * HOUR, 0)] {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let start = deleted(&registry).await;

        run_for(&registry, start + 3650 * DAY, end).await;

        assert_eq!(records(&registry).await.len(), left);
    }
}

/// A storage that counts how often the histories are looked for.
#[derive(Debug)]
struct Counted(MemoryStorage, Arc<AtomicUsize>);

impl Storage for Counted {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.0.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.0.collect()
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.0.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
impl StorageTrash for Counted {
    forward_storage! { StorageTrash: self => self.0.trash(); except with_histories }

    async fn with_histories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>, StorageError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.with_histories(page).await
    }
}

#[tokio::test]
async fn histories_are_looked_for_once_a_day() {
    let looks = Arc::new(AtomicUsize::default());
    let registry = Registry::builder(Counted(MemoryStorage::new(), Arc::clone(&looks))).build();

    // The first day passes without.
    run_for(&registry, SystemTime::UNIX_EPOCH + DAY, 4 * DAY - HOUR).await;

    assert_eq!(looks.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn each_kind_of_session_is_looked_for_at_its_own_interval() {
    let registry = Registry::builder(MemoryStorage::new()).build();

    // Each sleep ends when a schedule is due, and a day is a multiple of five minutes.
    assert_eq!(run_for(&registry, SystemTime::UNIX_EPOCH, DAY).await, 288);
}

#[tokio::test]
async fn a_registry_that_refuses_changes_keeps_and_counts_all_sessions() {
    let storage = MemoryStorage::new();
    let (empty, _, start) = opened(&Registry::builder(storage.clone()).build()).await;
    let registry = Registry::builder(storage).read_only().build();
    let clock = clock(start + 8 * DAY, DAY);

    tokio::select! {
        biased;
        never = async { registry.upkeep().run(&clock).await } => match never {},
        () = std::future::ready(()) => {}
    }

    let repository = registry.repository("a").unwrap();
    assert!(repository.upload(&empty).await.unwrap().is_some());
    assert_eq!(registry.upload_ledger().open_uploads(), 2);
}
