//! Test suites for users of the registry's crates: the promises of the registry, runnable by anyone.
//!
//! - [`storage`]: the storage contract, which any backend runs with one line: [`storage_tests!`].
//! - [`wire`]: black-box cases against a base URL, for any registry.
//! - [`tools`]: external programs in tests; a test whose program is missing is reported, not passed.

pub mod storage;
pub mod tools;
pub mod wire;
