//! Core of an embeddable OCI / Docker container registry: types, protocol, contracts, service, and a storage in memory.
//!
//! A host builds a [`Registry`] on a storage. The registry answers the HTTP requests of any server, and offers the
//! same operations in process:
//!
//! ```
//! use http_body_util::BodyExt as _;
//! use registry_core::{
//!     MediaType, Registry, Tag,
//!     service::ManifestPush,
//!     storage::MemoryStorage,
//! };
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let registry = Registry::builder(MemoryStorage::new()).build();
//!     let repository = registry.repository("team/app")?;
//!
//!     // Push a blob. It is stored under the digest of its bytes.
//!     let config = repository.push_blob("{}", None).await?;
//!
//!     // Put a manifest that refers to the blob, and tag it.
//!     let manifest = serde_json::json!({
//!         "schemaVersion": 2,
//!         "mediaType": MediaType::OCI_MANIFEST,
//!         "config": {
//!             "mediaType": "application/vnd.oci.empty.v1+json",
//!             "digest": config.digest.to_string(),
//!             "size": config.size,
//!         },
//!         "layers": [],
//!     })
//!     .to_string();
//!     let push = ManifestPush::new(Tag::parse("v1")?, manifest.clone());
//!     let pushed = repository.put_manifest(push).await?;
//!
//!     // Read both in process.
//!     let stored = repository.manifest("v1").await?.ok_or("no such tag")?;
//!     assert_eq!(stored.digest, pushed.digest);
//!     let blob = repository.read_blob(&config.digest, 1024).await?;
//!     assert_eq!(blob.as_deref(), Some(&b"{}"[..]));
//!
//!     // Read the manifest as a client does, with a request from any server.
//!     let request = http::Request::get("/v2/team/app/manifests/v1").body(String::new())?;
//!     let response = registry.handle(request).await;
//!     assert_eq!(response.status(), 200);
//!     assert_eq!(response.headers()["docker-content-digest"], pushed.digest.to_string());
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), manifest);
//!     Ok(())
//! }
//! ```
//!
//! # Modules
//!
//! A layer uses the layers above it in this table. The contracts do not use the protocol.
//!
//! | layer | modules | content |
//! |---|---|---|
//! | types | [`name`], [`reference`](mod@reference), [`digest`], [`hash`], [`range`], [`media_type`], [`descriptor`], [`annotations`], [`manifest`], [`upload_id`] | names and documents. Text is parsed once, where it arrives |
//! | protocol | [`protocol`] | requests and responses as values, for servers and for clients. No I/O, no clock, no storage |
//! | contracts | [`storage`], [`auth`], [`hooks`] | traits that backends and hosts implement |
//! | service | [`service`], [`ledger`], [`error`] | runs a request against the contracts: authorizes, acts, responds. The ledger counts open upload sessions. Each refusal has a status, a code and a body |
//! | maintenance | [`maintenance`] | recurring work, as futures that the host drives |
//!
//! Entry points:
//!
//! - [`Registry::builder`], to embed a registry,
//! - [`Storage`], to write a backend,
//! - [`auth`], to use your own users and rules,
//! - [`hooks`], to veto operations or to react to them,
//! - [`protocol::Request`], to write a client.
//!
//! # Duties of the host
//!
//! This crate has no runtime, no sockets and no files, and it starts no task. The host does the following:
//!
//! - **Serve requests.** [`Registry::into_service`] is a `tower` service for any server. It completes an operation
//!   whose client has disconnected; a server that calls [`Registry::handle`] has to do that itself.
//! - **Drive the upkeep.** Run [`Registry::upkeep`] with the clock of your runtime. Without it, abandoned upload
//!   sessions stay open until the [limit](Limits::uploads) of open sessions refuses all pushes, and sessions of
//!   other processes do not count.
//! - **Finish writes at a shutdown.** Stop accepting requests, then wait for the tasks of `into_service`.
//! - **Leave bodies alone.** A layer around `/v2/` must not compress, decompress, buffer or limit bodies.
//! - **Collect the log.** A client sees no details of a failure. They are events of the crate `tracing`.
//!
//! `registry-axum` provides the first three for a service that uses axum.
//!
//! # Features
//!
//! No feature is on by default. `contract-tests` lets a test suite drive uploads and proofs by hand, as
//! `registry-conformance` does. It is not meant for production code.
//!
//! # Related crates
//!
//! | crate | purpose |
//! |---|---|
//! | `registry-axum` | serves a registry in an axum router, and has a listener for the open network |
//! | `registry-storage-fs` | keeps images in a directory, in the layout of `registry:2` |
//! | `registry-auth-htpasswd`, `registry-auth-rules` | identify users by a password file; decide by access rules |
//! | `registry-metrics`, `registry-health` | measure and check a registry |
//! | `registry-conformance` | tests a storage or a registry of your own |
//! | `registry-guide` | guides: axum, hyper and tower, own users, own storage, hooks, duties of a host, tests |

pub mod annotations;
pub mod auth;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod glob;
pub mod hash;
pub mod hooks;
mod json;
pub mod ledger;
pub mod maintenance;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod protocol;
pub mod range;
pub mod reference;
pub mod service;
pub mod storage;
mod text;
pub mod upload_id;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use self::{
    annotations::Annotations,
    auth::{Action, Authenticator, Authorizer, Identity},
    descriptor::Descriptor,
    digest::{Algorithm, AnyDigest, Digest},
    error::{BoxError, Error, ErrorCode},
    hooks::{Event, Hooks},
    ledger::UploadLedger,
    media_type::MediaType,
    name::RepositoryName,
    range::RangeSpec,
    reference::{Reference, Tag},
    service::{Limits, Registry, Repository, ResponseBody},
    storage::{Storage, StorageWrite},
    upload_id::UploadId,
};
