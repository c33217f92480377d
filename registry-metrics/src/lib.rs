//! Prometheus metrics of a registry: requests, storage and logins, as instruments of [`prometheus_client`].
//!
//! Nothing is global. A host has a [`Registry`](prometheus_client::registry::Registry) of instruments, registers the
//! ones that it needs, and serves their text where it wants:
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Empty;
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_metrics::{HttpMetrics, StorageMetrics, gauges, text};
//! use tower_layer::Layer as _;
//! use tower_service::Service as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut instruments = prometheus_client::registry::Registry::default();
//! let storage = StorageMetrics::register(&mut instruments, "inmemory").wrap(MemoryStorage::new());
//! let http = HttpMetrics::register(&mut instruments);
//! gauges::build(&mut instruments, env!("CARGO_PKG_VERSION"));
//!
//! // A tower service. With axum, `router(registry).layer(http)` does the same.
//! let registry = Registry::builder(storage).build();
//! let mut service = http.layer(registry.into_service(|task| {
//!     tokio::spawn(task);
//! }));
//! let request = http::Request::get("/v2/").body(Empty::<Bytes>::new())?;
//! let response = service.call(request).await?;
//! assert_eq!(response.status(), 200);
//! drop(response);
//!
//! // The answer to Prometheus, with the media type `text::CONTENT_TYPE`.
//! let text = text::encode(&instruments);
//! assert!(text.contains(r#"registry_http_requests_total{handler="base",method="get",code="200"} 1"#), "{text}");
//! assert!(text.contains("registry_build_info"));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | part | instruments |
//! |---|---|
//! | [`HttpMetrics`], a tower layer | requests, their duration and size, by endpoint |
//! | [`StorageMetrics`], wraps a [`Storage`](registry_core::Storage) | operations: their duration, and errors by kind |
//! | [`AuthMetrics`], wraps an [`Authenticator`](registry_core::Authenticator) | logins: their duration, by outcome |
//! | [`gauges`] | values that are read at the scrape: space, open uploads, health, the process |
//! | [`text`] | the text of all instruments |
//!
//! Names are those of `registry:2` where the meaning is the same. No label has a value that a client chose: a path
//! counts as its endpoint, and a method that HTTP does not define as `other`.

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
