//! Mounts an OCI / Docker container registry in an axum [`Router`](axum::Router).
//!
//! A complete service, with a route of its own and an orderly shutdown:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use registry_axum::Mount;
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_listener::Server;
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//!
//!     // Your router, with the registry merged in.
//!     let mount = Mount::new(registry.clone());
//!     let app: Router = Router::new().route("/", get(|| async { "my service" })).merge(&mount);
//!
//!     // All recurring maintenance. Nothing runs by itself.
//!     let upkeep = tokio::spawn(registry_axum::upkeep(registry));
//!
//!     // Serve until Ctrl-C.
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//!     let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
//!     Server::new(app).until(ctrl_c).serve(listener).await;
//!
//!     // Complete the operations whose clients have disconnected.
//!     mount.drained().await;
//!     upkeep.abort();
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! | item | purpose |
//! |---|---|
//! | [`router`], [`router_at`] | the routes of a registry, at the root or below a prefix |
//! | [`Mount`] | the same with settings, for several registries by host, for a router with a state, and for an orderly shutdown |
//! | [`upkeep`], [`TokioClock`] | all recurring maintenance as one future, on the clock of tokio |
//! | [`Proxies`], [`Network`] | the addresses of clients behind trusted proxies |
//!
//! The crate `registry-guide` has a guide for axum services: own routes and middleware, own users, a subdomain, a shutdown.
//!
//! The crate `registry-listener` serves a router on the open network. Any other listener for axum works, too.
//!
//! # Routes
//!
//! The router has `/v2`, `/v2/` and everything below, and nothing else: no fallback and no `/`. Clients request `/v2/`
//! only at the root of a host, so a registry elsewhere needs a proxy that maps the path:
//!
//! | place of the registry | how |
//! |---|---|
//! | the root | [`router`] |
//! | below a prefix that reaches this service | `Router::nest` with [`router`], or [`router_at`] |
//! | below a prefix that a proxy removes | [`Mount::external_path`] |
//!
//! Every `Location` and `Link` begins with the first of these that is known:
//!
//! 1. a [`Links`](registry_core::protocol::Links) in the extensions of the request,
//! 2. [`Mount::external_path`],
//! 3. [`Builder::external_url`](registry_core::service::Builder::external_url),
//! 4. a [`DefaultLinks`](registry_core::service::DefaultLinks) in the extensions of the request,
//! 5. the prefix that the routers of this service have removed from the path.
//!
//! # Layers
//!
//! Bodies are streamed in both directions without a limit. The registry itself limits manifests. Do not add a layer
//! around this router that breaks pushes and pulls: one that limits or buffers bodies, compresses or decompresses them,
//! normalizes paths, or limits the duration of a request.

mod mount;
mod network;
mod proxies;
mod service;
mod tasks;
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
    network::{InvalidNetwork, Network},
    proxies::Proxies,
    upkeep::{TokioClock, upkeep},
};
