//! Tools for tests of programs that use an OCI / Docker registry.
//!
//! [`TestRegistry`] is a whole registry that a test starts in one line:
//!
//! ```
//! use registry_test::TestRegistry;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
//! # fn main() {
//!
//! let registry = TestRegistry::start();
//!
//! // The program under test uses registry.url() or registry.reference("team/app:v1").
//! # client(registry.addr()).unwrap();
//! assert_eq!(registry.requests().ping().status(200).count(), 1);
//! # }
//! ```
//!
//! | part | content |
//! |---|---|
//! | [`TestRegistry`] | a registry on a port of its own, which records requests |
//! | [`image`], [`index()`], [`artifact`] | content that a test [puts](TestRegistry::seed) into the registry |
//! | [`fault`] | what goes wrong, and in which requests |
//! | [`Quirk`] | behaviour in which registries differ |
//! | [`tap`] | a proxy between a client and any registry, which records their exchanges and injects faults |
//!
//! # A proxy for other registries
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

#[cfg(feature = "serve")]
pub mod control;
pub mod fault;
mod kind;
mod login;
mod quirk;
mod registry;
mod seed;
pub mod tap;
#[cfg(feature = "tls")]
mod tls;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "tls")]
pub use self::tls::ClientCertificate;
pub use self::{
    fault::{
        DELETE, GET, HEAD, Location, On, PATCH, POST, PUT, Redirect, Rule, Token, cut, drop_header, location,
        lost_answer, on, on_any, redirect, refuse, set_header, slow, stall, status, token, wrong_bytes,
        wrong_length,
    },
    kind::Kind,
    quirk::{Quirk, UnknownQuirk},
    registry::{Builder, NotPushed, OpenUpload, Requests, TestRegistry},
    seed::{Artifact, Image, Index, Seed, Subject, artifact, image, index},
    tap::{Gate, Handle, Side},
};
