//! For those who build on the registry: what it promises, as test suites that anyone can run.
//!
//! - [`storage`]: the storage contract, which any backend runs with one line: [`storage_tests!`].
//! - [`wire`]: black-box cases against a base URL, for any registry.
//! - [`tap`]: a proxy between a client and a registry, which records what they say and breaks it on demand.
//! - [`tools`]: outside programs in tests; a test whose program is missing is reported, not passed.

pub mod storage;
pub mod tap;
pub mod tools;
pub mod wire;
