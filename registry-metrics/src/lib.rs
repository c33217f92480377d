//! Measures a registry: requests, storage and logins, as instruments of [`prometheus_client`].
//!
//! Nothing is global. A host has its own [`Registry`](prometheus_client::registry::Registry) of instruments, registers
//! the ones it needs, and decides where the text is shown:
//!
//! ```
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_metrics::{HttpMetrics, StorageMetrics, gauges, text};
//! use tower_layer::Layer as _;
//!
//! let mut instruments = prometheus_client::registry::Registry::default();
//! let storage = StorageMetrics::register(&mut instruments, "inmemory").wrap(MemoryStorage::new());
//! let http = HttpMetrics::register(&mut instruments);
//! gauges::build(&mut instruments, env!("CARGO_PKG_VERSION"));
//!
//! // A tower service; with axum, `router(registry).layer(http)` is the same.
//! let registry = Registry::builder(storage).build();
//! let service = http.layer(registry.into_service::<String>(|task| {
//!     tokio::spawn(task);
//! }));
//! # let _ = service;
//!
//! // For whoever scrapes, with the type `text::CONTENT_TYPE`.
//! assert!(text::encode(&instruments).contains("registry_build_info"));
//! ```
//!
//! | what | instruments |
//! |---|---|
//! | [`HttpMetrics`], a tower layer | requests, their duration and size, by endpoint |
//! | [`StorageMetrics`], wraps a [`Storage`](registry_core::Storage) | operations: their duration, and errors by kind |
//! | [`AuthMetrics`], wraps an [`Authenticator`](registry_core::Authenticator) | logins: their duration, by outcome |
//! | [`gauges`] | what is asked for at the scrape: space, open uploads, the process |
//!
//! Names are those of `registry:2` where the meaning is the same. No label ever holds a value that a client chose: a
//! path counts as its endpoint, and a method that HTTP does not define as `other`.

mod auth;
mod body;
mod buckets;
mod cells;
mod exchange;
pub mod gauges;
mod http;
mod labels;
mod storage;
pub mod text;

pub use self::{
    auth::{AuthMetrics, MeasuredAuthenticator},
    body::MeasuredBody,
    http::{HttpMetrics, MeasuredFuture, MeasuredService},
    storage::{MeasuredStorage, StorageMetrics},
};
pub use prometheus_client;
