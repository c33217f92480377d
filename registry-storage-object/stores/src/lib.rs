//! Object stores for the tests of `registry-storage-object` and of the server.
//!
//! - [`SeaweedFs`] and [`Versitygw`] start real S3 servers, which check signatures. [`S3Server`] pauses, kills and
//!   restarts them.
//! - [`Azurite`] starts the emulator of Azure Blob Storage.
//! - [`HostileProxy`] delays, doubles, loses and falsifies requests and answers of a store, by rules of the test.
//! - [`GcsFake`] speaks the XML API of Google Cloud Storage, of which there is no emulator.
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
