//! The core of an embeddable OCI / Docker registry: names, protocol, contracts, service, in-memory storage.

pub mod auth;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod hash;
pub mod hooks;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod protocol;
pub mod reference;
pub mod storage;
pub mod upload_id;

pub use self::{
    descriptor::Descriptor,
    digest::{Algorithm, AnyDigest, Digest},
    media_type::MediaType,
    name::RepositoryName,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
