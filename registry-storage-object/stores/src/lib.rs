//! Object stores for the tests of `registry-storage-object` and of the server.
//!
//! - [`SeaweedFs`] and [`Versitygw`] start real S3 servers, which check signatures. [`S3Server`] pauses, kills and
//!   restarts them.
//! - [`Azurite`] starts the emulator of Azure Blob Storage.
//! - [`HostileProxy`] delays, doubles, loses and falsifies requests and answers of a store, by rules of the test.
//! - [`GcsFake`] speaks the XML API of Google Cloud Storage, of which there is no emulator.
//!
//! ```
//! use object_store::{ObjectStoreExt as _, RetryConfig, path::Path};
//! use object_stores::{
//!     GcsFake, HostileProxy,
//!     proxy::{Fault, Kind, on},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = GcsFake::start()?;
//! let proxy = HostileProxy::start(fake.address())?;
//! let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
//! let store = fake.bucket("images").with_base_url(&proxy.endpoint()).with_retry(once).build()?;
//!
//! // The answer to the next write is lost. The write has taken effect.
//! proxy.fault(on(Kind::Put), Fault::CutAfterEffect);
//! let key = Path::from("key");
//! assert!(store.put(&key, "content".into()).await.is_err());
//! assert_eq!(store.get(&key).await?.bytes().await?, "content");
//! # Ok(())
//! # }
//! ```
//!
//! Everything listens on loopback addresses and ends when it is dropped.

mod azurite;
mod bucket;
mod call;
mod gcs;
mod http1;
mod keys;
mod plain;
mod process;
pub mod proxy;
mod s3;
mod seaweedfs;
mod versitygw;
mod xml;

pub use self::{
    azurite::{AzureServer, Azurite},
    gcs::GcsFake,
    proxy::HostileProxy,
    s3::S3Server,
    seaweedfs::SeaweedFs,
    versitygw::Versitygw,
};
