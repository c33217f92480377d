//! Tools for tests of programs that use an OCI / Docker registry.
//!
//! | module | content |
//! |---|---|
//! | [`tap`] | a proxy between a client and a registry, which records their exchanges and injects faults |
//!
//! This test pushes an image twice, and checks that the second push uploads no blob again:
//!
//! ```
//! use registry_test::tap::Tap;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = registry()?;
//! # let push_to = client;
//!
//! // `registry` is the address of a registry.
//! let tap = Tap::start(registry)?;
//!
//! push_to(tap.address())?;
//! let first = tap.take();
//! assert_eq!(first[0].status(), Some(200));
//!
//! push_to(tap.address())?;
//! for exchange in tap.take() {
//!     println!("{} {}: {:?}", exchange.method, exchange.target, exchange.status());
//!     assert!(!exchange.uploads());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The suites that test a registry itself, or a storage, are in `registry-conformance`.

pub mod tap;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
