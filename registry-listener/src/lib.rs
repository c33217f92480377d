//! Serves any tower service on the open network: a registry, the router of a framework, or a service of your own.
//!
//! A complete server, with settings and an orderly shutdown:
//!
//! ```no_run
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_listener::{ConnectionLimits, Server, Timeouts};
//! use std::time::Duration;
//! use tokio_util::task::TaskTracker;
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//!
//!     // The registry as a service. Operations that change something continue if their clients disconnect.
//!     let operations = TaskTracker::new();
//!     let spawner = operations.clone();
//!     let service = registry.into_service(move |operation| {
//!         spawner.spawn(operation);
//!     });
//!
//!     let mut timeouts = Timeouts::default();
//!     timeouts.drain = Duration::from_secs(30);
//!     let mut limits = ConnectionLimits::default();
//!     limits.connections = 1000;
//!
//!     // Serve until Ctrl-C.
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//!     let ended = Server::new(service)
//!         .timeouts(timeouts)
//!         .limits(limits)
//!         .on_refusal(|refused| println!("{} {:?} {}", refused.peer, refused.line, refused.status))
//!         .until(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
//!         .serve(listener)
//!         .await;
//!     println!("{} connections were cut off", ended.cut);
//!
//!     // Complete the operations whose clients have disconnected.
//!     operations.close();
//!     operations.wait().await;
//!     Ok(())
//! }
//! ```
//!
//! A router of axum is a tower service, too. With the crate `registry-axum`:
//! `registry_listener::serve(listener, registry_axum::router(registry))`.
//!
//! # Map
//!
//! | item | purpose |
//! |---|---|
//! | [`serve`] | a server with default settings, in one line |
//! | [`Server`], [`Ended`] | a server with settings, and its outcome |
//! | [`Timeouts`], [`ConnectionLimits`] | bounds on connections and requests |
//! | [`Refused`] | a request that the server has refused by itself, for a log |
//! | [`Listener`] | the source of connections: TCP, a Unix socket, or your own |
//! | [`Handshake`], [`Plain`], [`Established`], [`Protocol`] | the step before HTTP, such as TLS |
//! | [`RequestBody`], [`BodyError`] | the body that the service receives |
//!
//! # Features
//!
//! | feature | purpose |
//! |---|---|
//! | `tls` | the TLS of the crate `registry-tls` is a [`Handshake`] |
//! | `sendfile` | `Server::sendfile`: Linux sends blobs from its page cache |
//!
//! # Behaviour
//!
//! | subject | behaviour |
//! |---|---|
//! | protocols | HTTP/1.1 and HTTP/1.0. HTTP/2 with peers that negotiate it or begin with its preface |
//! | timeouts | separate ones for the first byte, the head of a request, the time between requests, and a body without progress ([`Timeouts`]). The duration of a body is not limited |
//! | limits | on connections, on the size of a head, on concurrent requests ([`ConnectionLimits`]). An idle connection is closed for a new one |
//! | early answers | sent at once. The rest of the body is received within bounds, so that the client sees the answer |
//! | malformed requests | two lengths, two hosts, unknown codings, folded headers: refused in the error format of the registry, and the connection is closed |
//! | shutdown | no more connections are accepted, idle ones are closed, and requests finish. At the deadline the remaining connections are cut off |
//!
//! Every request has a [`ClientAddress`](registry_core::auth::ClientAddress) in its extensions. An answer whose body is
//! ready is sent in one piece with its head.

mod admission;
mod any_body;
mod body_scan;
mod checks;
mod connection;
mod connection_slots;
mod connection_state;
mod exchange;
mod handshake;
mod head;
mod http1;
mod http2;
mod listener;
mod prefixed_io;
mod refusal;
mod refused;
mod request_body;
mod sendfile;
mod server;
mod service;
mod settings;
mod shared;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod tls_hint;
mod watchdog;
mod watched;
/// Example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use self::{
    handshake::{Established, Handshake, Plain, Protocol},
    listener::Listener,
    refused::Refused,
    request_body::{BodyError, RequestBody},
    server::{Ended, Server, serve},
    settings::{ConnectionLimits, Timeouts},
};
