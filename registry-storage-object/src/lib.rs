//! Storage in a bucket of an object store, for any number of replicas. The layout is registry:2's.
//!
//! A bucket of Amazon S3 or of a store that speaks its protocol ([`S3`]), of Google Cloud Storage ([`Gcs`]), or a container
//! of Azure Blob Storage ([`Azure`]). [`Location::memory`] is for tests.
//!
//! ```
//! use registry_core::Registry;
//! use registry_storage_object::{Location, ObjectStorage, S3};
//!
//! # async fn images() -> Result<(), registry_core::storage::StorageError> {
//! let bucket = S3::new("images").region("eu-central-1");
//! # let bucket = Location::memory();
//! let storage = ObjectStorage::options().root("team/registry").open(bucket.into()).await?;
//! let registry = Registry::builder(storage).build();
//! # drop(registry);
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(images()).unwrap();
//! ```
//!
//! # Replicas
//!
//! All processes are equal, and any of them may end at any time. After a push was acknowledged, each of them has the
//! new tag, or a later one. Each continues the upload sessions of the others, and each may collect.
//!
//! Nothing rests on a local clock. A write that must not land late is a signed URL that expires, so that the clock of the store
//! bounds it. The clocks of the processes may differ from it by some minutes.
//!
//! # What the store has to keep
//!
//! Content is written under its digest, and needs no promise. Tags, upload sessions and the state of collections are
//! compared and swapped. The [`Probe`] races for that at the opening, and decides by what means:
//!
//! | the store keeps | then |
//! |---|---|
//! | preconditions of PUT on absent and on unchanged objects, and of DELETE | any number of replicas. If DELETE looks before it removes, what is pushed at the very moment of its removal may go with it |
//! | preconditions of PUT on absent objects | any number of replicas; a tag is a numbered log, from which registry:2's object is derived |
//! | none of them | the opening is refused, unless [`ObjectOptions::sole_replica`] declares that no other process writes. A second one is then refused, as far as such a store allows that |
//!
//! # Layout
//!
//! Below `docker/registry/v2/`, `blobs/` and `repositories/` are as registry:2 has them: a bucket that it wrote is served as
//! it is, and can be handed back. Everything else is ours, and registry:2 passes over it:
//!
//! | key | content |
//! |---|---|
//! | `_sessions/` | upload sessions, with their data |
//! | `_history/` | histories of tags |
//! | `_trash/` | records of deletions |
//! | `_index/` | derived from the repositories, and made again if it is missing |
//! | `_quarantine/` | damaged content |
//! | `_collect/` | state of the collection, and notes of deletions |
//! | `_leases/`, `_probe/` | the sole replica; the keys of the probe, and its result |
//!
//! While registry:2 writes to the bucket, no replica may run: it keeps none of the protocols.

mod ahead;
mod blobs;
mod bucket;
mod changes;
mod collect;
mod deleting;
mod deletions;
mod documents;
mod error;
mod gate;
mod health;
mod history;
mod indexing;
mod inspect;
mod kept_probe;
mod keys;
mod known_manifests;
#[cfg(test)]
mod late;
mod lease;
mod links;
mod listing;
mod location;
mod lost_tags;
mod manifest_reads;
mod manifests;
mod marks;
mod names;
mod needs;
mod nonce;
mod noted;
mod notes;
mod objects;
mod options;
mod planes;
mod probe;
mod process;
mod reading;
mod referrers;
mod repair;
#[cfg(test)]
mod requests;
mod run;
mod rung;
mod scans;
mod storage;
mod store;
#[cfg(test)]
mod support;
mod tags;
mod trash;
mod turns;
mod uploads;
mod walk;

pub use self::{
    location::{Azure, Gcs, Location, S3, S3Encryption},
    objects::Objects,
    options::ObjectOptions,
    probe::kept::{Kept, Probe},
    storage::ObjectStorage,
};
