//! Test suites for storages and registries.
//!
//! | module | tests | entry point |
//! |---|---|---|
//! | [`storage`] | a backend of `registry-core`, against the storage contract | [`storage_tests!`] |
//! | [`wire`] | any registry at a URL, against the distribution protocol | [`wire::run`], [`wire::trials`], the program `registry-wire` |
//! | [`faulty`] | a host program, with a storage that fails by rule | [`faulty::Faulty`] |
//! | [`tools`] | programs that tests drive | [`tools::trial`], [`tools::Process`] |
//!
//! A backend runs the whole contract with one line. Each case is a test of its own:
//!
//! ```
//! use registry_conformance::storage::Backend;
//! use registry_core::storage::MemoryStorage;
//! use std::sync::Arc;
//!
//! /// Creates an empty backend, with two handles on it.
//! async fn memory() -> Backend {
//!     let storage = MemoryStorage::new();
//!     Backend::new(Arc::new(storage.clone()), Arc::new(storage))
//! }
//!
//! registry_conformance::storage_tests!(memory, collect, expire, health, inspect, repair, trash);
//! ```
//!
//! The wire suite tests any registry:
//!
//! ```no_run
//! use registry_conformance::wire::{self, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let report = wire::run("http://127.0.0.1:5000", &Options::default()).await;
//! println!("{report}");
//! assert!(report.is_good());
//! # }
//! ```
//!
//! Cases fail by panicking, so this crate belongs in `[dev-dependencies]`.

pub mod faulty;
pub mod storage;
pub mod tools;
pub mod wire;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
