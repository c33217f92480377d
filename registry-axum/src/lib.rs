//! Mounts a registry in an axum [`Router`](axum::Router).
//!
//! ```no_run
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! let app = axum::Router::new().merge(registry_axum::router(registry.clone()));
//! tokio::spawn(registry_axum::upkeep(registry));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! registry_listener::serve(listener, app).await;
//! # Ok(())
//! # }
//! ```
//!
//! The router owns `/v2`, `/v2/` and everything below, and nothing else: no fallback, no `/`. Clients ask for `/v2/`
//! only at the root of a host. A registry elsewhere is behind a proxy that changes paths:
//!
//! | where | how |
//! |---|---|
//! | at the root | [`router`] |
//! | below a prefix that reaches this service | `Router::nest` with [`router`], or [`router_at`] |
//! | below a prefix that a proxy removes | [`Mount::external_path`] |
//!
//! Every `Location` and `Link` begins with the first of these that is known: a
//! [`Links`](registry_core::protocol::Links) in the extensions of the request, [`Mount::external_path`],
//! [`Builder::external_url`](registry_core::service::Builder::external_url), and the prefix that the routers of this
//! service have removed from the path.
//!
//! Bodies stream in both directions and have no limit here; the registry has its own limit for manifests. Do not put a
//! layer around this router that limits or buffers bodies, compresses or decompresses them, cleans paths or bounds the
//! time of a request: it breaks pushes and pulls.
//!
//! The host drives [`upkeep`], all recurring maintenance as one future. At a shutdown it waits for [`Mount::drained`].
//!
//! The crate `registry-listener` serves a router on the open network. Any other listener that runs an axum router works
//! too.

mod mount;
mod proxies;
mod service;
mod upkeep;
/// Examples of the manual.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tls.md")]
mod manual {}
/// Example of the README of the workspace.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
/// Example of the README of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme_of_the_crate {}

pub use self::{
    mount::{Mount, router, router_at},
    proxies::{InvalidNetwork, Network, Proxies},
    upkeep::{TokioClock, upkeep},
};
