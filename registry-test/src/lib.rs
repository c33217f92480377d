//! Tools for tests of programs that use a registry.
//!
//! - [`tap`]: a proxy between a client and a registry, which records their exchanges and injects faults on demand.
//!
//! The suites that test a registry itself, or a storage, are in `registry-conformance`.

pub mod tap;
