//! Runs on a schedule, and through a registry.

use super::{damage::Faulty, *};
use registry_core::{
    maintenance::{CollectSchedule, Collections},
    storage::{StorageError, StorageInspect as _},
};
use std::sync::Arc;
use tokio::sync::Notify;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time after which a schedule looks at what requests have released.
const STEP: Duration = Duration::from_secs(5);

/// A clock on which two days pass while a schedule waits, and no time otherwise.
#[derive(Default)]
struct Days {
    passed: Mutex<Duration>,
    ended: Notify,
}

#[async_trait]
impl Clock for Days {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, duration: Duration) {
        // A collection paces its removals.
        if duration < Duration::from_secs(1) {
            return;
        }
        if matches!(duration, STEP | DAY) {
            let mut passed = self.passed.lock().unwrap();
            *passed += duration;
            if *passed <= 2 * DAY {
                return;
            }
            self.ended.notify_one();
        }
        std::future::pending().await
    }
}

/// Runs the upkeep for two days, and returns the numbers of links that each collection removed.
async fn upkeep(registry: &Registry, schedule: CollectSchedule) -> Vec<(bool, u64)> {
    let (reports, collections) = (Arc::new(Mutex::new(Vec::new())), Collections::default());
    let told = Arc::clone(&reports);
    let upkeep = registry
        .upkeep()
        .collect(Some(schedule), collections.clone())
        .on_collected(move |report| {
            told.lock().unwrap().push((report.dry_run, report.removed.links));
        });
    let clock = Days::default();
    tokio::select! {
        never = upkeep.run(&clock) => match never {},
        () = clock.ended.notified() => {}
    }
    let reports = std::mem::take(&mut *reports.lock().unwrap());
    let removed = reports
        .iter()
        .filter(|(dry_run, _)| !dry_run)
        .map(|(_, links)| links);
    assert_eq!(collections.counts().removed.links, removed.sum::<u64>());
    reports
}

fn daily() -> CollectSchedule {
    CollectSchedule::new(DAY).options(
        CollectOptions::automatic()
            .grace(Duration::ZERO)
            .uploading(Duration::ZERO)
            .force(true),
    )
}

/// A clock on which each call of a storage takes 10 ms.
#[derive(Default)]
struct Slow {
    looks: Mutex<Duration>,
    slept: Mutex<Duration>,
}

#[async_trait]
impl Clock for Slow {
    fn now(&self) -> SystemTime {
        let mut looks = self.looks.lock().unwrap();
        *looks += Duration::from_millis(10);
        SystemTime::UNIX_EPOCH + *looks
    }

    async fn sleep(&self, duration: Duration) {
        *self.slept.lock().unwrap() += duration;
    }
}

#[tokio::test]
async fn a_run_with_a_rate_rests_for_three_quarters_of_its_time() {
    let storage = MemoryStorage::new();
    Registry::builder(storage.clone())
        .build()
        .repository("a")
        .unwrap()
        .push_blob("content", None)
        .await
        .unwrap();
    let options = CollectOptions::automatic();

    let clock = Slow::default();
    collect(&storage, &options.rate(None), &clock, &|_| {})
        .await
        .unwrap();
    assert_eq!(*clock.slept.lock().unwrap(), Duration::ZERO);

    let clock = Slow::default();
    collect(&storage, &options, &clock, &|_| {}).await.unwrap();
    // The clock is read twice for each look, and a few times besides.
    let looks = *clock.looks.lock().unwrap() / 2;
    assert!(looks >= Duration::from_millis(50), "{looks:?}");
    let slept = *clock.slept.lock().unwrap();
    assert!((looks * 5 / 2..=looks * 3).contains(&slept), "{slept:?}");
}

#[tokio::test]
async fn a_schedule_collects_at_once_and_then_periodically() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;

    let reports = upkeep(&pushed.registry, daily()).await;

    assert_eq!(reports, [(false, 1), (false, 0), (false, 0)]);
}

#[tokio::test]
async fn a_schedule_only_reports_where_another_program_may_have_written() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;
    let registry = Registry::builder(Faulty::foreign(&pushed)).build();

    assert_eq!(upkeep(&registry, daily()).await, [(true, 1); 3]);
    assert_eq!(
        upkeep(&registry, daily().foreign(true)).await,
        [(false, 1), (false, 0), (false, 0)]
    );
}

#[tokio::test]
async fn a_registry_collects_unless_it_refuses_changes() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;
    let refusing = Registry::builder(pushed.storage.clone()).read_only().build();
    let clock = Counting::default();

    let refused = refusing.collect(&at_once(), &clock, &|_| {}).await;
    assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    let preview = refusing.collect(&at_once().dry_run(true), &clock, &|_| {}).await;
    let report = pushed.registry.collect(&at_once(), &clock, &|_| {}).await;

    assert_eq!(preview.unwrap().removed, report.unwrap().removed);
    assert!(
        pushed
            .storage
            .blobs(Page::first(1))
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

/// A clock that deletes a manifest in the first wait of a schedule, and ends after the third.
struct Deleting<'a> {
    pushed: &'a Pushed,
    manifest: Digest,
    waits: AtomicU64,
    ended: Notify,
}

#[async_trait]
impl Clock for Deleting<'_> {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, duration: Duration) {
        match duration {
            STEP => match self.waits.fetch_add(1, Ordering::Relaxed) {
                0 => return self.pushed.delete("a", &self.manifest.to_string()).await,
                1 | 2 => return,
                _ => self.ended.notify_one(),
            },
            _ if duration < Duration::from_secs(1) => return,
            _ => {}
        }
        std::future::pending().await
    }
}

/// Deletes an image while a schedule waits. Returns what each run removed until it has waited three times.
async fn after_a_deletion(options: CollectOptions) -> Vec<u64> {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["blob"])).await;
    let clock = Deleting {
        pushed: &pushed,
        manifest,
        waits: AtomicU64::new(0),
        ended: Notify::new(),
    };
    let removed = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&removed);
    let upkeep = pushed
        .registry
        .upkeep()
        .collect(
            Some(CollectSchedule::new(DAY).options(options)),
            Collections::default(),
        )
        .on_collected(move |report| told.lock().unwrap().push(report.removed.links));
    tokio::select! {
        never = upkeep.run(&clock) => match never {},
        () = clock.ended.notified() => {}
    }
    std::mem::take(&mut *removed.lock().unwrap())
}

#[tokio::test]
async fn what_is_deleted_for_good_is_removed_before_the_interval_has_passed() {
    let at_once = CollectOptions::automatic()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO);

    assert_eq!(after_a_deletion(at_once.empty_trash(true)).await, [0, 1]);
    assert_eq!(after_a_deletion(at_once).await, [0], "it can be restored");
}
