//! Storage in a bucket of an object store, for any number of replicas. The layout is registry:2's.

mod ahead;
mod blobs;
mod bucket;
mod changes;
mod collect;
mod deletions;
mod documents;
mod error;
mod gate;
mod health;
mod history;
mod indexing;
mod inspect;
mod keys;
mod known_manifests;
mod lease;
mod links;
mod listing;
mod location;
mod lost_tags;
mod manifest_reads;
mod manifests;
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
mod trash_ids;
mod turns;
mod uploads;
mod walk;

pub use self::{
    location::{Azure, Gcs, Location, S3, S3Encryption},
    objects::Objects,
    options::ObjectOptions,
    probe::{Kept, Probe},
    storage::ObjectStorage,
};
