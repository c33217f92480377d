//! Storage contracts for the repositories of a registry.
//!
//! There are three planes. [`Storage`] reads, [`Storage::write`] gives the plane that changes content, and
//! [`Storage::admin`] gives the plane for maintenance. A plane that a wrapper does not forward is closed. A
//! storage speaks of blobs, uploads, manifests and tags, never of paths. It knows neither HTTP nor requests.
//!
//! `registry-testkit` has a test for every promise made here, for any backend.

mod abilities;
mod admin;
mod content;
mod error;
mod forward;
mod ingest;
mod memory;
mod new_upload;
mod page;
mod put;
mod read;
mod upload;
mod write;

pub use self::{
    abilities::Abilities,
    admin::{LinkInfo, StorageAdmin},
    content::{BlobBody, BlobInfo, BlobRead, Content, ContentStream, FileRange, ReadBlob, StoredManifest},
    error::{Result, StorageError},
    forward::StorageCall,
    ingest::{IngestError, ingest},
    memory::MemoryStorage,
    new_upload::{NewUpload, UploadBounds, Uploader},
    page::{Listing, Page},
    put::{Moved, Need, Needed, PutManifest, PutOutcome, SizePolicy, TagExpect, TagMove, WrongSize},
    read::Storage,
    upload::{IncomingBody, Piece, UploadBody, UploadState, Verified},
    write::StorageWrite,
};

pub use crate::{error::BoxError, range::RangeSpec};
pub(crate) use ingest::{receive, verify};
