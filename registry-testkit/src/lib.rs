//! For those who build on the registry: what it promises, as test suites that anyone can run.
//!
//! - [`tools`]: outside programs in tests; a test whose program is missing is reported, not passed.

pub mod tools;
