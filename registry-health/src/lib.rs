//! Health of a server: an open list of named checks, reported in the format of registry:2.
//!
//! Any part of a program can add a check with a name and a function. Nothing is global, and nothing runs by itself: a
//! slow check is a [`Watch`], a future that the host drives.
//!
//! ```
//! use registry_health::{Health, Watch};
//! use std::{io, time::Duration};
//!
//! async fn probe() -> Result<(), io::Error> {
//!     // A read from the storage, for instance.
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let health = Health::new();
//! // Runs at each report, so it must be fast.
//! health.register("certificate", || Err("no certificate yet".to_owned()));
//! // Runs every 10 seconds, and fails after the third failure in a row.
//! let storage = Watch::new(Duration::from_secs(10), 3);
//! health.register("storage", storage.verdict());
//! tokio::spawn(storage.run(probe));
//!
//! // The answer to a monitor: 200 or 503, with this body.
//! let report = health.report();
//! let status = if report.is_healthy() { 200 } else { 503 };
//! assert_eq!(status, 503);
//! assert_eq!(report.to_json(), r#"{"certificate":"no certificate yet"}"#);
//! # }
//! ```
//!
//! # Map
//!
//! - [`Health`] is the list of checks. Clones share it, so that each part of a program can add its own.
//! - [`Report`] has the results of one run of all checks.
//! - [`Watch`] runs a slow check at intervals, and stores its latest result.

mod health;
mod watch;

pub use self::{
    health::{Health, Report},
    watch::Watch,
};
