//! Runs on a schedule, and through a registry.

use super::{damage::Faulty, *};
use registry_core::{
    maintenance::{CollectSchedule, Collections},
    storage::{StorageError, StorageInspect as _},
};
use std::sync::Arc;
use tokio::sync::Notify;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock on which two days pass, and no time between them.
#[derive(Default)]
struct Days {
    passed: AtomicU64,
    ended: Notify,
}

#[async_trait]
impl Clock for Days {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, duration: Duration) {
        match duration {
            DAY if self.passed.fetch_add(1, Ordering::Relaxed) < 2 => return,
            DAY => self.ended.notify_one(),
            // A collection paces its removals.
            _ if duration < Duration::from_secs(1) => return,
            _ => {}
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
    CollectSchedule::new(DAY).options(CollectOptions::automatic().grace(Duration::ZERO).force(true))
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
