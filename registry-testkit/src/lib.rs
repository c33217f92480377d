//! Test suites for users of the registry's crates: the promises of the registry, runnable by anyone.
//!
//! - [`storage`]: the storage contract, which any backend runs with one line: [`storage_tests!`].
//! - [`wire`]: black-box cases against a base URL, for any registry.
//! - [`tap`]: a proxy between a client and a registry, which records their exchanges and injects faults on demand.
//! - [`tools`]: external programs in tests; a test whose program is missing is reported, not passed.

pub mod storage;
pub mod tap;
pub mod tools;
pub mod wire;
