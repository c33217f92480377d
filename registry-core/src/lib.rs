//! Core of an embeddable OCI / Docker registry: names, protocol, contracts, service and in-memory storage.

pub mod annotations;
pub mod auth;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod hash;
pub mod hooks;
mod json;
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

pub use self::{
    annotations::Annotations,
    auth::{Action, Authenticator, Authorizer, Identity},
    descriptor::Descriptor,
    digest::{Algorithm, AnyDigest, Digest},
    error::{BoxError, Error, ErrorCode},
    hooks::{Event, Hooks},
    media_type::MediaType,
    name::RepositoryName,
    range::RangeSpec,
    reference::{Reference, Tag},
    service::{Limits, Registry, Repository, ResponseBody},
    storage::{Storage, StorageWrite},
    upload_id::UploadId,
};
