//! A streaming client of OCI / Docker registries, from the protocol's own tables: requests are built by
//! [`registry_core::protocol::Request`], and responses read by [`registry_core::protocol::Answer`].
//!
//! - Manifests and whole blobs are verified against their digests. A part of a blob, such as a stream from an offset on,
//!   is verified if its start has a [`Hasher`](registry_core::hash::Hasher).
//! - Pulls and pushes that break off continue where they stopped.
//! - Transient failures are retried with back-off ([`Retry`]), and `Retry-After` is observed.
//! - Responses are hostile: bodies, headers, redirects and the depth of JSON are bounded.
//!
//! ```no_run
//! use registry_client::Client;
//! use registry_core::{Descriptor, manifest::Manifest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let repository = Client::new().repository("127.0.0.1:5000/team/app")?;
//!
//! // Pull a manifest, and stream its layers.
//! let manifest = repository.manifest("v1").await?;
//! let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type)?;
//! for layer in parsed.blobs() {
//!     let (Some(media_type), Some(digest)) = (layer.media_type.clone(), layer.digest.known()) else {
//!         continue;
//!     };
//!     let layer = Descriptor::new(media_type, *digest, layer.size);
//!     let mut stream = repository.open_blob(&layer, 0);
//!     while let Some(bytes) = stream.next().await? {
//!         println!("{digest}: {} bytes", bytes.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | type | content |
//! |---|---|
//! | [`Client`], [`ClientBuilder`] | connections, logins and settings, for any number of registries |
//! | [`RemoteRepository`] | pulls, pushes, tags, referrers and deletions |
//! | [`BlobStream`] | a blob that is being pulled |
//! | [`Upload`], [`UploadToken`] | a blob that is being pushed piece by piece, by several processes in turn |
//! | [`Replay`] | content to push that can be read again |
//! | [`Pages`] | a listing, page by page |
//! | [`Credentials`], [`AuthFile`] | logins: your own, or those of docker and podman |
//! | [`Remote`] | a registry as a storage that is read, for a mirror |
//! | [`Error`] | every reason for a failure, with its facts |
//!
//! # Logins
//!
//! A registry gets a credential after it has asked for it, by Basic or by a token service. It stays with the registry: a
//! redirect to another host carries none, and that host may not ask. After `https`, neither a redirect nor a token service
//! may be `http`. Plain HTTP is used on this machine, over connections of your own ([`HostOptions::connector`]), and where
//! [`HostOptions::plain_http`] says so.

mod auth;
mod builder;
mod call;
mod certs_dir;
mod client;
mod config_error;
mod content;
mod env;
mod error;
mod host;
mod login;
mod options;
mod pages;
mod proxies;
mod refusal;
mod registry;
mod remote;
mod repository;
mod retry;
mod transport;
mod url;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use self::{
    auth::{AuthFile, Credential, Credentials},
    builder::ClientBuilder,
    client::Client,
    config_error::ConfigError,
    content::{Replay, ReplayBody},
    error::{Error, Result},
    host::{Host, InvalidHost},
    options::HostOptions,
    pages::Pages,
    proxies::Proxies,
    remote::Remote,
    repository::{
        BlobStart, BlobStream, InvalidRepository, InvalidUploadToken, Pushed, RemoteAbilities,
        RemoteRepository, Upload, UploadToken,
    },
    retry::Retry,
};
