//! Copies between repositories, layouts and archives.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

mod archives;
mod builds;
mod conversions;
mod copies;
mod costs;
mod exports;
mod failures;
mod fixture;
mod increments;
mod layouts;
mod sizes;
mod tarball;
