//! Duties of a host: everything that your service has to drive.
//!
//! At the end of this page your service runs everything that a registry needs beside requests: expiry, collection, retention,
//! health and an orderly end. The libraries start no task, install no logger and handle no signal.
//!
//! | duty | how | without it |
//! |---|---|---|
//! | expiry of abandoned uploads | [`Registry::upkeep`] | they stay, and count towards the limits, until all pushes are refused |
//! | expiry of deletions that can be undone | the same, [`Upkeep::trash`] | deleted content stays |
//! | collection | the same, [`Upkeep::collect`] | content without references stays |
//! | verification | the same, [`Upkeep::verify`] | damage is found by the client that pulls it |
//! | retention | [`Recurring`] | all tags stay |
//! | space | [`SpaceWatch`] | nobody is warned before the disk is full |
//! | readiness | `registry-health` | an orchestrator knows only that the process runs |
//! | the end of operations | `Mount::drained`, or your own tracker | a push that was almost done is lost |
//! | the log | a subscriber of `tracing` | no reason of a failure is visible |
//! | metrics | `registry-metrics`, around the storage and the service | |
//!
//! # Maintenance
//!
//! Each duty is a future that never ends. Give it a task, and drop the task at the end: every future can be dropped at any
//! point. The default of each schedule is in its documentation; collection and verification have none.
//!
//! ```
//! use registry_axum::TokioClock;
//! use registry_core::{
//!     Registry,
//!     maintenance::{
//!         CollectSchedule, Collections, MemoryNotes, UploadExpiry,
//!         retention::{Keep, Recurring, RepositoryPattern, Rule, Rules},
//!     },
//!     storage::MemoryStorage,
//! };
//! use std::{num::NonZeroUsize, sync::Arc, time::Duration};
//! use tokio::task::JoinSet;
//!
//! const HOUR: Duration = Duration::from_secs(60 * 60);
//!
//! fn maintain(registry: &Registry, rules: Rules) -> JoinSet<()> {
//!     let mut tasks = JoinSet::new();
//!
//!     // Uploads end after a day without a byte. Content without references goes daily, and soon after deletions.
//!     let upkeep = registry
//!         .upkeep()
//!         .uploads(Some(UploadExpiry::new(24 * HOUR, HOUR)))
//!         .collect(Some(CollectSchedule::new(24 * HOUR)), Collections::default())
//!         .on_collected(|report| println!("freed {} bytes", report.removed.bytes));
//!     tasks.spawn(async move {
//!         upkeep.run(&TokioClock).await;
//!     });
//!
//!     // Old tags go. The first run of new rules only writes to the log what the next one drops.
//!     let (registry, rules) = (registry.clone(), Arc::new(rules));
//!     tasks.spawn(async move {
//!         let (rules, notes) = (move || Arc::clone(&rules), MemoryNotes::default());
//!         Recurring::new(&registry, &rules, &notes).run(&TokioClock).await;
//!     });
//!     tasks
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let ten = NonZeroUsize::new(10).ok_or("not zero")?;
//! let rules = Rules::new([Rule::new([RepositoryPattern::parse("builds/**")?], Keep::Newest(ten))]);
//! let tasks = maintain(&registry, rules);
//! # let mut tasks = tasks;
//! # for _ in 0..100 {
//! #     tokio::task::yield_now().await;
//! # }
//! # assert_eq!(tasks.len(), 2);
//! # assert!(tasks.try_join_next().is_none(), "maintenance has ended");
//! # Ok(())
//! # }
//! ```
//!
//! - A collection runs beside pushes and pulls. One process has the schedule, if several share a storage.
//! - [`MemoryNotes`] end with the process, so each start begins with a dry run of the rules. A few bytes in your database, behind
//!   [`Notes`], avoid that.
//! - Rules that depend on an age need a [`Clock`] of yours that knows the time since the boot: a wall clock that jumps must not
//!   delete images.
//!
//! # Readiness
//!
//! A storage knows if it can be used ([`Storage::health`]). Ask it in a task, and answer monitors from the result:
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::get};
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_health::{Health, Watch};
//! use std::time::Duration;
//!
//! fn readiness(registry: &Registry) -> Router {
//!     let health = Health::new();
//!     let watch = Watch::new(Duration::from_secs(10), 3);
//!     health.register("storage", watch.verdict());
//!     let storage = registry.storage().clone();
//!     tokio::spawn(watch.run(move || {
//!         let storage = storage.clone();
//!         async move {
//!             match storage.health() {
//!                 Some(plane) => plane.probe().await,
//!                 None => Ok(()),
//!             }
//!         }
//!     }));
//!     Router::new().route("/ready", get(async move || {
//!         let report = health.report();
//!         let status = if report.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
//!         (status, report.to_json())
//!     }))
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! # use tower::ServiceExt as _;
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let app = readiness(&registry).merge(registry_axum::router(registry));
//! # let request = http::Request::get("/ready").body(axum::body::Body::empty()).unwrap();
//! # assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
//! # }
//! ```
//!
//! `/v2/` is no check of health: it answers 401 if users have to log in.
//!
//! # The end
//!
//! In this order: stop accepting, let requests finish for some seconds, complete the operations of clients that have left, then
//! drop the maintenance. [`in_axum`](crate::in_axum#run-it-and-stop-it) and [`in_hyper`](crate::in_hyper) have the code. You can
//! kill a process at any time: `registry-storage-fs` keeps what was acknowledged, and interrupted uploads resume.
//!
//! # The log
//!
//! Events of the crate `tracing` have targets such as `registry_core::service`. Errors that a client sees as 500 or 503 have
//! their reason only there. A subscriber is your service's: `tracing_subscriber::fmt::init()` is enough.

#[cfg(doc)]
use registry_core::{
    Registry, Storage,
    maintenance::{Clock, MemoryNotes, Notes, SpaceWatch, Upkeep, retention::Recurring},
};
