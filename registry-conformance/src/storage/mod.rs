//! The storage contract as a test suite: every promise in the docs of [`registry_core::storage`] is a case.
//!
//! [`storage_tests!`](crate::storage_tests) runs all of them with one line, each case as a test of its own.
//!
//! Promises that not every backend makes are its [abilities](registry_core::storage::Abilities). The suite tests those
//! that it declares, and that the others are refused.
//!
//! Means that not every backend has are declared after the factory. A declaration that does not match the backend
//! fails a case too.
//!
//! | means | the backend |
//! |---|---|
//! | `inspect`, `expire`, `collect`, `health`, `repair`, `trash` | has the plane of that name |
//! | `restart` | keeps its state after its handles are dropped: [`Backend::reopening`] |
//! | `damage` | can be damaged from outside: [`Backend::damaging`] |
//! | `read_only` | opens handles for reading only: [`Backend::reading`] |
//!
//! Each case is a function of a backend, which panics on failure. [`run`] runs a single one:
//!
//! ```
//! use registry_conformance::storage::{self, Backend};
//! use registry_core::storage::MemoryStorage;
//! use std::sync::Arc;
//!
//! async fn memory() -> Backend {
//!     let storage = MemoryStorage::new();
//!     Backend::new(Arc::new(storage.clone()), Arc::new(storage))
//! }
//!
//! storage::run(memory, storage::isolation::a_blob_of_one_repository_is_absent_from_another);
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a case fails by panicking"
)]
#![expect(missing_docs, reason = "the name of a case is its promise")]

mod backend;
mod cases;
mod support;

pub mod abilities;
pub mod blobs;
pub mod collect;
pub mod commits;
pub mod counting;
pub mod damage;
pub mod deletions;
pub mod dropping;
pub mod expiry;
pub mod health;
pub mod inspect;
pub mod isolation;
pub mod listings;
pub mod manifests;
pub mod quarantine;
pub mod ranges;
pub mod read_only;
pub mod reconciling;
pub mod referrers;
pub mod releases;
pub mod repair;
pub mod repositories;
pub mod restart;
pub mod resuming;
pub mod tags;
pub mod trash;
pub mod uploaders;
pub mod uploads;
pub mod wrappers;

#[doc(hidden)]
pub use self::backend::assert_means;
pub use self::backend::{Backend, Damage, Handles, run};
