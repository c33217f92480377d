//! Storage contracts for the repositories of a registry.
//!
//! [`Storage`] reads. Everything else is a plane of its own, behind an accessor of it that is `None` by
//! default:
//!
//! - [`write`](Storage::write) changes content.
//! - [`inspect`](Storage::inspect) lists everything that is stored.
//! - [`expire`](Storage::expire) ends abandoned upload sessions.
//! - [`collect`](Storage::collect) removes content that nothing refers to.
//! - [`repair`](Storage::repair) finds and repairs damage.
//! - [`health`](Storage::health) reports the condition of the storage.
//! - [`trash`](Storage::trash) lists deleted content, and the history of tags.
//!
//! A plane that a wrapper does not forward is closed. The calls name blobs, uploads, manifests and tags, never
//! paths. A storage depends neither on HTTP nor on requests.
//!
//! [`MemoryStorage`] is a complete backend, and the workspace has the example `own_backend`. Wrappers compose storages:
//!
//! - [`ReadOnlyStorage`] changes nothing.
//! - [`PrefixStorage`] has the repositories of one tenant.
//! - [`FallbackStorage`] has the content of two storages, and changes only the upper one.
//!
//! An own wrapper is made with [`forward_storage!`](crate::forward_storage).
//!
//! `registry-conformance` has a test for every promise made here, for any backend.

mod abilities;
mod collect;
mod content;
mod deletion;
mod error;
mod expire;
mod fallback;
mod forward;
mod health;
mod ingest;
mod inspect;
mod memory;
mod mount;
mod new_upload;
mod page;
mod prefix;
mod put;
mod read;
mod read_only;
mod recent_holders;
mod referring;
mod repair;
mod run;
mod suspects;
mod trash;
mod trash_record;
mod upload;
mod victim;
mod write;

pub use self::{
    abilities::Abilities,
    collect::{Due, Reclaimed, StorageCollect, Waiting},
    content::{BlobBody, BlobInfo, BlobRead, Content, ContentStream, FileRange, ReadBlob, StoredManifest},
    deletion::Deletion,
    error::{Resource, Result, StorageError},
    expire::StorageExpire,
    fallback::FallbackStorage,
    forward::StorageCall,
    health::{Space, StorageHealth},
    ingest::{IngestError, ingest},
    inspect::{Document, HeldBlob, HeldManifest, Seen, StorageInspect, TagTarget},
    memory::MemoryStorage,
    mount::Mount,
    new_upload::{NewUpload, Uploader},
    page::{Listing, Page},
    prefix::PrefixStorage,
    put::{
        Moved, Need, Needed, PutManifest, PutOutcome, SizePolicy, TagExpect, TagMove, TagVersion, WrongSize,
    },
    read::Storage,
    read_only::ReadOnlyStorage,
    recent_holders::RecentHolders,
    referring::Referring,
    repair::{Checked, Evidence, Fault, FaultKind, QuarantineId, Quarantined, Record, StorageRepair},
    run::{Census, Run, Terms},
    suspects::{Suspect, SuspectCause, SuspectList},
    trash::{LostTag, StorageTrash, TagEvent, TrashId, Trashed},
    trash_record::TrashIds,
    upload::{IncomingBody, Piece, UploadBody, UploadState, Verified},
    victim::Victim,
    write::StorageWrite,
};

pub use crate::{error::BoxError, range::RangeSpec};
pub(crate) use ingest::verify;
