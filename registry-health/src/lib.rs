//! Health of a registry: an open list of named checks.
//!
//! Any part of a program can add a check with a name and a function. Nothing is global, and nothing runs by itself: a
//! slow check is a [`Watch`], a future that the host drives.
//!
//! ```
//! use registry_health::{Health, Watch};
//! use std::time::Duration;
//!
//! # async fn storage_answers() -> Result<(), std::io::Error> { Ok(()) }
//! let health = Health::new();
//! // Asked at each report: it has to be quick.
//! health.register("certificate", || Err("no certificate yet".to_owned()));
//! // Asked at its own pace; failed after the third failure in a row.
//! let storage = Watch::new(Duration::from_secs(10), 3);
//! health.register("storage", storage.verdict());
//! let upkeep = storage.run(storage_answers);
//! # drop(upkeep);
//!
//! let report = health.report();
//! assert_eq!(report.to_json(), r#"{"certificate":"no certificate yet"}"#);
//! ```

mod health;
mod watch;

pub use self::{
    health::{Health, Report},
    watch::Watch,
};
