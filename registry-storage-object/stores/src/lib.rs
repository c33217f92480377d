//! Object stores for the tests of `registry-storage-object` and of the server.
//!
//! - [`SeaweedFs`] and [`Versitygw`] start real S3 servers, which check signatures. [`S3Server`] pauses, kills and
//!   restarts them.
//!
//! Everything listens on loopback addresses and ends when it is dropped.

mod bucket;
mod keys;
mod s3;
mod seaweedfs;
mod versitygw;

pub use self::{s3::S3Server, seaweedfs::SeaweedFs, versitygw::Versitygw};
