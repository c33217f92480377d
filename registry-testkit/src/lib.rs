//! For those who build on the registry: what it promises, as test suites that anyone can run.
//!
//! - [`wire`]: black-box cases against a base URL, for any registry.
//! - [`tools`]: outside programs in tests; a test whose program is missing is reported, not passed.

pub mod tools;
pub mod wire;
