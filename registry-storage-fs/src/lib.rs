//! A directory on disk as the storage of a registry, in the layout of registry:2.
//!
//! An existing volume of registry:2 is served as it is, and can be handed back. [`FsStorage`] implements the
//! contracts of [`registry_core::storage`]. One process owns a directory, and a second is refused; any number of others
//! [read](FsOptions::read_only) beside it.
//!
//! ```
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! use registry_core::{RepositoryName, storage::{Page, Storage}};
//! use registry_storage_fs::FsStorage;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let storage = FsStorage::open(root)?;
//! let all = storage.repositories(Page { after: None, limit: 100 }).await?;
//! assert!(all.items.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! All paths are below `<root>/docker/registry/v2`. registry:2 ignores the paths marked with `+`, which it does not know:
//!
//! ```text
//! blobs/<algorithm>/<first two digits>/<hex>/data             every blob and manifest, once
//! repositories/<name>/_layers/<algorithm>/<hex>/link          the repository holds the blob
//! repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link   … the manifest
//! repositories/<name>/_manifests/tags/<tag>/current/link      the target of the tag
//! repositories/<name>/_manifests/tags/<tag>/index/<algorithm>/<hex>/link   each target it ever had; not read here
//! + repositories/<name>/_manifests/media-types/<algorithm>/<hex>   the media type, if the manifest does not state it
//! repositories/<name>/_uploads/<id>/{data,startedat,hashstates/<algorithm>/<offset>}   an upload session
//! + repositories/<name>/_uploads/<id>/session                 offset and state of the session
//! + _staging/                                                 files being written; emptied at opening
//! + _quarantine/<algorithm>/<hex>/<n>/{bytes,why}             damaged content, for the operator
//! + _sessions/<id>                                            the repository of an open session; derived
//! + _owner                                                    locked by the process that has the directory; its id and host
//! + _index/<name>/_referrers/                                 manifests that may be referrers, and their subjects
//! + _index/_owner                                             locked while its process maintains that index
//! ```
//!
//! A link file holds the text of a digest and nothing else. A blob pushed by its sha512 is stored under it;
//! registry:2 stores it under its sha256, with a link to that, which is read too. Referrers are derived
//! from the manifests; their index counts while its owner runs, and is built again if it is missing.
//!
//! # Guarantees
//!
//! - Data of an acknowledged call survives a power loss, unless [`Durability::Relaxed`] was chosen.
//!   Upload sessions survive the process.
//! - No reader sees half a file, and a crash at any point leaves a directory that opens and serves what was
//!   acknowledged. Files that a crash of another program left empty or garbled count as absent, and the next push
//!   of the same content replaces them.
//! - An upload that fails or is cancelled leaves no directory behind: empty directories are removed, upwards, until
//!   one has content or another upload.
//! - Content with another digest than the one it is stored under is absent for everybody once that is found, and the
//!   next push of it succeeds. It moves to `_quarantine`, whose items [`FsStorage::quarantined`] counts. A disk error
//!   moves nothing.
//! - Nothing is written to a directory that took the place of the opened one: all writes are refused until that is
//!   back.
//! - A system error is never "not found". Lists for readers leave out a repository that somebody made unreadable; lists
//!   for inspection show it as unreadable.
//! - Blobs are written once and never changed: a push of content that is there replaces the file by one with the
//!   same, verified bytes, and open readers keep theirs.

#[cfg(test)]
extern crate self as registry_storage_fs;

mod append;
mod bare;
mod blobs;
mod builds;
mod changes;
mod condition;
mod directories;
mod disk;
mod durable_files;
mod error;
#[cfg(test)]
mod faults;
mod health;
mod holders;
mod inspect;
mod known_manifests;
mod known_uploads;
mod layout;
mod links;
mod listing;
mod locks;
mod machine;
mod manifest_scan;
mod manifests;
#[cfg(test)]
mod meanwhile;
mod moves;
mod names;
mod open_uploads;
mod options;
#[cfg(test)]
mod outages;
mod owner;
mod pieces;
mod planes;
#[cfg(test)]
mod power_loss;
mod quarantine;
mod read;
mod referrer_entry;
mod referrer_index;
mod referrers;
mod reported_problems;
mod runtime;
mod seams;
mod search;
mod session_records;
mod staging;
mod store;
mod stored_file;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
mod tag_index;
mod tags;
mod time;
mod uploads;
mod walk;
mod write_back;

pub use self::{disk::Durability, error::OpenError, options::FsOptions, store::FsStorage};
