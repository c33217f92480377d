//! Runs of an upkeep: every day, with a clock that tells if ages count.

use super::{DAY, HOUR, eight_days, newest, on_day, tags};
use async_trait::async_trait;
use registry_core::{
    Registry, Storage,
    maintenance::{
        Clock, MemoryNotes,
        retention::{Keep, Recurring, RepositoryPattern, Rule, Rules},
    },
    storage::{Run, Terms},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// Clock that advances while somebody sleeps, up to an end.
struct Advancing {
    passed: Mutex<Duration>,
    end: Duration,
    ended: Notify,
    /// Error of the wall clock.
    ahead: Duration,
    /// Collection that ends with the first sleep.
    collection: Mutex<Option<Run>>,
}

#[async_trait]
impl Clock for Advancing {
    fn now(&self) -> SystemTime {
        let passed = *self.passed.lock().unwrap();
        // It is set when it has run for an hour.
        let ahead = if passed > HOUR { self.ahead } else { Duration::ZERO };
        on_day(10) + passed + ahead
    }

    fn since_boot(&self) -> Option<Duration> {
        Some(*self.passed.lock().unwrap())
    }

    async fn sleep(&self, duration: Duration) {
        drop(self.collection.lock().unwrap().take());
        let passed = {
            let mut passed = self.passed.lock().unwrap();
            *passed += duration;
            *passed
        };
        if passed > self.end {
            self.ended.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// Applies rules every day, for that long.
async fn recur(registry: &Registry, rules: &Rules, notes: &MemoryNotes, time: Duration, ahead: Duration) {
    recur_beside(None, registry, rules, notes, time, ahead).await;
}

/// Does the same beside a collection.
async fn recur_beside(
    collection: Option<Run>,
    registry: &Registry,
    rules: &Rules,
    notes: &MemoryNotes,
    time: Duration,
    ahead: Duration,
) {
    let clock = Advancing {
        passed: Mutex::default(),
        end: time,
        ended: Notify::new(),
        ahead,
        collection: Mutex::new(collection),
    };
    let rules = Arc::new(rules.clone());
    let rules = move || Arc::clone(&rules);
    let recurring = Recurring::new(registry, &rules, notes);
    tokio::select! {
        biased;
        never = recurring.run(&clock) => match never {},
        () = clock.ended.notified() => {}
    }
}

#[tokio::test]
async fn the_first_run_of_changed_rules_is_a_dry_run() {
    let (_, registry, repository) = eight_days().await;
    let notes = MemoryNotes::default();
    let count = async || tags(&repository).await.len();

    recur(&registry, &newest(6), &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 8);
    // The note survives the process.
    recur(&registry, &newest(6), &notes, HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 6);
    recur(&registry, &newest(4), &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 6);
    recur(
        &registry,
        &newest(4),
        &MemoryNotes::default(),
        DAY,
        Duration::ZERO,
    )
    .await;
    assert_eq!(count().await, 4);
}

#[tokio::test]
async fn a_run_that_a_collection_prevents_is_tried_again_soon() {
    let (storage, registry, repository) = eight_days().await;
    let notes = MemoryNotes::default();
    recur(&registry, &newest(6), &notes, HOUR, Duration::ZERO).await;
    assert_eq!(tags(&repository).await.len(), 8, "it was a dry run");
    let collection = storage.collect().unwrap().begin(Terms::new()).await.unwrap();

    recur_beside(
        Some(collection),
        &registry,
        &newest(6),
        &notes,
        HOUR / 2,
        Duration::ZERO,
    )
    .await;

    assert_eq!(tags(&repository).await.len(), 6);
}

#[tokio::test]
async fn no_tag_is_too_old_for_a_clock_that_is_not_trusted() {
    let (_, registry, repository) = eight_days().await;
    let pattern = RepositoryPattern::parse("**").unwrap();
    let rules = Rules::new([Rule::new([pattern], Keep::Younger(8 * DAY))]);
    let count = async || tags(&repository).await.len();
    let notes = MemoryNotes::default();

    // Set ten years ahead while it runs.
    recur(&registry, &rules, &notes, 20 * DAY, 3650 * DAY).await;
    assert_eq!(count().await, 8);
    // The note of that time does not count as trusted; a day has to pass.
    recur(&registry, &rules, &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 8);
    recur(&registry, &rules, &MemoryNotes::default(), DAY, Duration::ZERO).await;
    assert_eq!(count().await, 5);
}

#[tokio::test]
async fn a_machine_that_is_switched_off_every_night_gets_to_trust_its_clock() {
    let (_, registry, repository) = eight_days().await;
    let pattern = RepositoryPattern::parse("**").unwrap();
    let rules = Rules::new([Rule::new([pattern], Keep::Younger(8 * DAY))]);
    let notes = MemoryNotes::default();

    let mut counts = Vec::new();
    for _day in 0..4 {
        recur(&registry, &rules, &notes, 10 * HOUR, Duration::ZERO).await;
        counts.push(tags(&repository).await.len());
    }

    // The fourth process begins when 24 hours have passed.
    assert_eq!(counts, [8, 8, 8, 6]);
}
