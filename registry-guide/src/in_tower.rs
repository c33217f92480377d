//! A registry behind layers of tower.
//!
//! At the end of this page the registry is the innermost service of a stack: your layers trace requests, bound how many run
//! at once, and set what the registry reads from a request.
//!
//! # The stack
//!
//! [`Registry::into_service`] is a [`tower_service::Service`](https://docs.rs/tower-service) for any body, clones cheaply, is
//! always ready, and never fails. Its responses have a [`ResponseBody`]:
//!
//! ```
//! use http::Request;
//! use registry_core::{Registry, hooks::RequestId, storage::MemoryStorage};
//! use registry_listener::RequestBody;
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer};
//! use tower_http::trace::TraceLayer;
//!
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # fn main() {
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! let numbers = Arc::new(AtomicU64::new(0));
//! let stack = ServiceBuilder::new()
//!     // Spans and events of the crate `tracing`. The registry's own events are within the span, except those of an operation
//!     // in a task: to have these, spawn `operation.in_current_span()`, of `tracing::Instrument`.
//!     .layer(TraceLayer::new_for_http())
//!     // Further requests wait. A request counts up to the head of its response, and not while the body is sent.
//!     .layer(GlobalConcurrencyLimitLayer::new(1000))
//!     // The log and the hooks of the registry name this number.
//!     .map_request(move |mut request: Request<RequestBody>| {
//!         let number = numbers.fetch_add(1, Ordering::Relaxed);
//!         request.extensions_mut().insert(RequestId(number.to_string().into()));
//!         request
//!     })
//!     .service(registry.into_service(|operation| {
//!         tokio::spawn(operation);
//!     }));
//! let server = registry_listener::Server::new(stack);
//! # check(server);
//! # }
//! # #[tokio::main]
//! # async fn check(server: registry_listener::Server) {
//! #     let (host, listener) = listener().await;
//! #     let served = tokio::spawn(async move { server.serve(listener).await });
//! #     push_and_pull(&format!("{host}/team/app"), b"content").await;
//! #     served.abort();
//! # }
//! ```
//!
//! For an orderly shutdown, count the operations as in [`in_hyper`](crate::in_hyper).
//!
//! # What the registry reads from the extensions
//!
//! | value | set by | used for |
//! |---|---|---|
//! | [`ClientAddress`] | `registry-listener`, or your layer behind proxies | limits of anonymous clients and of failed logins, the log |
//! | [`RequestId`] | your layer | the log, hooks. Without it, the header `X-Request-Id` |
//! | [`Identity`], or a type of yours | your layer | logins, by [`FromExtensions`] |
//! | [`Links`] | your layer | the prefix of each `Location` and `Link`, if a request knows it better than the configuration |
//!
//! A response has the [`Identity`] of its client in its extensions, for a log of accesses.
//!
//! # Layers that do not fit
//!
//! | layer | what it breaks |
//! |---|---|
//! | compression, decompression | clients compare the bytes with digests and sizes |
//! | limits and buffering of bodies | layers have any size |
//! | a timeout for the whole request | a large layer takes hours; bound idle time, as `registry_listener::Timeouts` does |
//! | normalization of paths | `/v2/` and the end of `/blobs/uploads/` have a slash |
//! | retries | the body of a push can be read once. Clients retry by themselves |
//! | load shedding that closes the connection | clients repeat a whole layer; answer 429 or 503 with `Retry-After` |
//!
//! # In process
//!
//! Tests and other services call the stack without a network. The body is a type of your choice:
//!
//! ```
//! use registry_core::{Registry, storage::MemoryStorage};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let service = registry.into_service(|operation| { tokio::spawn(operation); });
//!
//! let request = http::Request::get("/v2/team/app/manifests/v1").body(String::new())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.status(), 404);
//! # Ok(())
//! # }
//! ```
//!
//! To read images or push them in process, HTTP is a detour: use [`Registry::repository`].

#[cfg(doc)]
use registry_core::{
    Identity, Registry, ResponseBody,
    auth::{ClientAddress, FromExtensions},
    hooks::RequestId,
    protocol::Links,
};
