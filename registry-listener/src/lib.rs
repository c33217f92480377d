//! Serves any tower service to real clients on real networks: a registry, with the router of a framework or without.
//!
//! ```no_run
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # async fn serve() -> std::io::Result<()> {
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let service = registry.into_service(|task| {
//!     tokio::spawn(task);
//! });
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! registry_listener::serve(listener, service).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`serve`] takes one line; [`Server`] has settings. Hosts with a listener of their own need neither.
//!
//! | | |
//! |---|---|
//! | protocols | HTTP/1.1, HTTP/1.0, and HTTP/2 with peers that begin with it; TLS is a [`Handshake`], available with the feature `tls` |
//! | timeouts | for the first byte, for a request's head, between requests, and for an idle body, each its own ([`Timeouts`]); none for a whole body |
//! | limits | on connections, on the bytes of a head, on concurrent requests ([`ConnectionLimits`]); idle connections give way to active ones |
//! | early answers | sent at once; the rest of the body is received within bounds, so that the client sees the answer |
//! | odd requests | two lengths, two hosts, unknown codings, folded headers: refused in the registry's error format, and the connection closed |
//! | the end | no more connections are accepted, idle ones are closed, requests finish, and the rest is cut off at the deadline |
//!
//! Every request carries a [`ClientAddress`](registry_core::auth::ClientAddress). An answer whose body is ready is
//! sent in one piece with its head.

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
