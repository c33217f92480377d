//! Object stores for the tests of `registry-storage-object` and of the server.
//!
//! - [`SeaweedFs`] and [`Versitygw`] start real S3 servers, which check signatures. [`S3Server`] pauses, kills and
//!   restarts them.
//! - [`HostileProxy`] delays, doubles, loses and falsifies requests and answers of a store, by rules of the test.
//!
//! Everything listens on loopback addresses and ends when it is dropped.

mod bucket;
mod http1;
mod keys;
pub mod proxy;
mod s3;
mod seaweedfs;
mod versitygw;
mod xml;

pub use self::{proxy::HostileProxy, s3::S3Server, seaweedfs::SeaweedFs, versitygw::Versitygw};
