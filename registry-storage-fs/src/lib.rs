//! Storage of a registry in a directory on disk, in the layout of registry:2.
//!
//! [`FsStorage`] implements the contracts of [`registry_core::storage`]. It serves an existing volume of registry:2
//! without a conversion, and registry:2 can serve the directory again later.
//!
//! ```
//! use registry_core::{MediaType, Registry, Tag, service::ManifestPush};
//! use registry_storage_fs::FsStorage;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # let directory = tempfile::tempdir()?;
//!     # let root = directory.path();
//!     // Open the directory, which is created if it does not exist. Uploads leave 16 MiB of the disk free.
//!     let storage = FsStorage::options().min_free(16 << 20).open(root)?;
//!
//!     // Push an image to a registry on it.
//!     let registry = Registry::builder(storage).build();
//!     let repository = registry.repository("team/app")?;
//!     let config = repository.push_blob("{}", None).await?;
//!     let manifest = serde_json::json!({
//!         "schemaVersion": 2,
//!         "mediaType": MediaType::OCI_MANIFEST,
//!         "config": {
//!             "mediaType": "application/vnd.oci.empty.v1+json",
//!             "digest": config.digest.to_string(),
//!             "size": config.size,
//!         },
//!         "layers": [],
//!     });
//!     let push = ManifestPush::new(Tag::parse("v1")?, manifest.to_string());
//!     let pushed = repository.put_manifest(push).await?;
//!
//!     // Everything survives the end of the process.
//!     drop((repository, registry));
//!     let registry = Registry::builder(FsStorage::open(root)?).build();
//!     let stored = registry.repository("team/app")?.manifest("v1").await?;
//!     assert_eq!(stored.ok_or("no such tag")?.digest, pushed.digest);
//!     Ok(())
//! }
//! ```
//!
//! # Where to start
//!
//! | item | purpose |
//! |---|---|
//! | [`FsStorage::open`] | opens a directory with the default options |
//! | [`FsStorage::options`] | options: [durability](FsOptions::durability), [free space](FsOptions::min_free), [read-only](FsOptions::read_only), [previews](FsOptions::preview) |
//! | [`OpenError`] | reasons why a directory cannot be opened, such as another process that has it open |
//! | [`OwnerRecord`] | the process that owns a directory, and its socket for commands |
//! | [`FsStorage::quarantined`] | number of damaged items, for a metric or a health check |
//! | [`registry_core::storage`] | the operations of a storage |
//!
//! The operations of a storage need a tokio runtime, and run on its blocking pool. This crate starts no task that
//! recurs; [`Registry::upkeep`](registry_core::Registry::upkeep) ends abandoned upload sessions.
//!
//! # Processes
//!
//! One process owns a directory, and a second one is [refused](OpenError::InUse). Any number of processes can
//! [read](FsOptions::read_only) it at the same time. Clones of an [`FsStorage`] share one storage, which stays open until
//! the last clone is dropped.
//!
//! # Layout
//!
//! All paths are below `<root>/docker/registry/v2`. registry:2 does not know the paths marked with `+`, and ignores them:
//!
//! ```text
//! blobs/<algorithm>/<first two digits>/<hex>/data             every blob and manifest, once
//! repositories/<name>/_layers/<algorithm>/<hex>/link          the repository has the blob
//! repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link   the repository has the manifest
//! repositories/<name>/_manifests/tags/<tag>/current/link      the target of the tag
//! repositories/<name>/_manifests/tags/<tag>/index/<algorithm>/<hex>/link   each earlier target that is still there
//! + repositories/<name>/_manifests/media-types/<algorithm>/<hex>   the media type, if the manifest does not state it
//! repositories/<name>/_uploads/<id>/{data,startedat,hashstates/<algorithm>/<offset>}   an upload session
//! + repositories/<name>/_uploads/<id>/session                 offset and state of the session, and who opened it
//! + _staging/                                                 files being written; emptied at opening
//! + _quarantine/<algorithm>/<hex>/<n>/{bytes,why}             damaged content, for the operator
//! + _verify/state                                             progress of the verification; a hint
//! + _trash/<name>/_deleted/<id>                               a deletion that can be undone
//! + _history/<name>/_tags/<tag>                              moves and deletions of a tag
//! + _notes/<name>                                             what recurring work keeps between two processes; a hint
//! + _sessions/<id>                                            the repository of an open session; derived
//! + _owner                                                    locked by the owner, or shared by previews; its process id, host and socket
//! + _control/socket                                           socket of the owner, if it takes commands
//! + _collect/state                                            who created the directory; counts since the last collection
//! + _collect/released                                         blobs whose deletion accounts for their removal
//! + _collect/reserve/                                         space for records of deletions on a full disk
//! + _index/<name>/_referrers/                                 manifests that may be referrers, and their subjects
//! + _index/_owner                                             locked while its process maintains that index
//! ```
//!
//! A link file contains the text of a digest and nothing else. A blob that was pushed by its sha512 is stored under
//! that digest. registry:2 stores it under its sha256, with a link to that, which can be read here, too. Referrers are
//! derived from the manifests. Their index counts while its owner runs, and is built again if it is missing.
//!
//! # Guarantees
//!
//! - Acknowledged data survives a power loss, unless [`Durability::Relaxed`] is set. Upload sessions survive the
//!   process.
//! - A reader never sees a part of a file. After a crash at any point, the directory can be opened and serves all
//!   acknowledged content. Files that a crash of another program left empty or garbled count as absent. The next push of
//!   the same content replaces them.
//! - A failed or cancelled upload leaves no directory behind. Its empty directories are removed, upwards, up to the
//!   first one with content or another upload.
//! - Content with another digest than its name counts as absent as soon as that is found, and can be pushed again. It
//!   moves to `_quarantine`. A disk error moves nothing.
//! - A collection removes nothing that a client was promised since it began: by a successful request for a blob or a
//!   manifest, an upload, a mount or a put. A manifest is durably gone before what it names is removed.
//! - Nothing is written to a directory that was put in the place of the opened one. All writes are refused until the
//!   opened one is back.
//! - A system error is never "not found". Lists for readers leave out an unreadable repository; lists for inspection
//!   show it as unreadable.
//! - An operation whose future is dropped runs to its end, or stops before it changes anything. An append stops between two
//!   pieces, and the session continues at the last recorded offset.
//! - The bytes of a stored blob never change. A push of existing content replaces the file by one with the same,
//!   verified bytes. Open readers keep the old file.

#[cfg(test)]
extern crate self as registry_storage_fs;

mod append;
mod bare;
mod blobs;
mod builds;
mod changes;
mod closures;
mod collect;
mod condition;
mod digest_locks;
mod digest_pages;
mod directories;
mod disk;
mod durable_files;
mod error;
#[cfg(test)]
mod faults;
mod file_lock;
mod health;
mod history;
mod inspect;
#[cfg(test)]
mod kills;
mod known_closures;
mod known_manifests;
mod known_uploads;
mod layout;
mod links;
mod listing;
mod locks;
mod lost_tags;
mod machine;
mod manifest_scan;
mod manifests;
#[cfg(test)]
mod meanwhile;
mod moves;
mod names;
mod needs;
mod notes;
mod open_uploads;
mod options;
#[cfg(test)]
mod outages;
mod owner;
mod pauses;
mod pieces;
mod planes;
#[cfg(test)]
mod power_loss;
mod quarantine;
mod read;
mod referrer_entry;
mod referrer_index;
mod referrers;
mod repair;
mod reported_problems;
mod reserve;
mod runtime;
mod seams;
mod search;
mod sections;
mod session_records;
mod staging;
mod store;
mod stored_file;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
mod tag_index;
mod tag_versions;
mod tags;
mod time;
mod trash;
mod uploads;
mod walk;
mod write_back;

pub use self::{
    disk::Durability, error::OpenError, options::FsOptions, owner::OwnerRecord, store::FsStorage,
};
