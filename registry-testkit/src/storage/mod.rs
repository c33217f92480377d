//! The storage contract as a test suite: every promise in the docs of [`registry_core::storage`] is a case.
//!
//! A backend runs them all with one line, each case as a test of its own, so none can be forgotten:
//!
//! ```
//! use registry_core::storage::MemoryStorage;
//! use registry_testkit::storage::Backend;
//! use std::sync::Arc;
//!
//! /// A fresh backend, and two handles on it.
//! async fn memory() -> Backend {
//!     let storage = MemoryStorage::new();
//!     Backend::new(Arc::new(storage.clone()), Arc::new(storage))
//! }
//!
//! registry_testkit::storage_tests!(memory, admin);
//! ```
//!
//! What not every backend can do is an ability that is declared behind the factory: `admin` has the
//! maintenance plane, `restart` keeps things beyond its handles ([`Backend::reopening`]), `damage` can be
//! damaged from outside ([`Backend::damaging`]), `read_only` opens handles for reading alone
//! ([`Backend::reading`]). A declaration that does not fit the backend fails a case too.
//!
//! The cases are functions from a backend to a panic, or to nothing; [`run`] runs a single one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a case fails by panicking"
)]
#![expect(missing_docs, reason = "the name of a case is its promise")]

mod backend;
mod cases;
mod support;

pub mod admin;
pub mod blobs;
pub mod bounds;
pub mod commits;
pub mod damage;
pub mod deletions;
pub mod dropping;
pub mod expiry;
pub mod isolation;
pub mod listings;
pub mod manifests;
pub mod ranges;
pub mod read_only;
pub mod referrers;
pub mod repositories;
pub mod restart;
pub mod resuming;
pub mod tags;
pub mod uploads;
pub mod wrappers;

#[doc(hidden)]
pub use self::backend::assert_abilities;
pub use self::backend::{Backend, Damage, Handles, run};
