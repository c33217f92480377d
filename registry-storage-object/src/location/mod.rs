//! [`Location`]: which bucket of which store.

mod azure;
mod classified;
mod gcs;
mod network;
mod s3;

pub(crate) use self::network::Asking;
pub use self::{
    azure::Azure,
    gcs::Gcs,
    s3::{S3, S3Encryption},
};

use crate::{
    bucket::{Bucket, Clients, Dialect, LARGEST_COPY, Observed},
    process::{Process, Processes},
};
use object_store::memory::InMemory;
use registry_core::storage::StorageError;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A bucket of an object store.
#[derive(Clone, Debug)]
pub struct Location {
    kind: Kind,
    processes: Processes,
}

#[derive(Clone, Debug)]
enum Kind {
    S3(Box<S3>),
    Gcs(Box<Gcs>),
    Azure(Box<Azure>),
    Memory(Arc<InMemory>, Arc<Mutex<()>>),
}

impl Location {
    /// Names a new, empty bucket in the memory of this process. Clones name the same bucket.
    #[must_use]
    pub fn memory() -> Self {
        Kind::Memory(Arc::default(), Arc::default()).into()
    }

    pub(crate) fn bucket(&self, root: &str, asking: &Asking) -> Result<Bucket, StorageError> {
        let clients = match &self.kind {
            Kind::S3(s3) => s3.clients(asking)?,
            Kind::Gcs(gcs) => gcs.clients(asking)?,
            Kind::Azure(azure) => azure.clients(asking)?,
            Kind::Memory(memory, one) => Clients {
                dialect: Dialect::Memory,
                objects: Arc::clone(memory) as _,
                parts: Arc::clone(memory) as _,
                pages: None,
                signer: None,
                observed: Arc::new(Observed::default()),
                largest_copy: LARGEST_COPY,
                one: Arc::clone(one),
            },
        };
        Ok(Bucket::new(clients, root))
    }

    /// Returns what the handles of this location and its clones share.
    pub(crate) fn process(&self, root: &str) -> Arc<Process> {
        self.processes.of(root)
    }
}

impl From<Kind> for Location {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            processes: Processes::default(),
        }
    }
}

impl From<S3> for Location {
    fn from(s3: S3) -> Self {
        Kind::S3(Box::new(s3)).into()
    }
}

impl From<Gcs> for Location {
    fn from(gcs: Gcs) -> Self {
        Kind::Gcs(Box::new(gcs)).into()
    }
}

impl From<Azure> for Location {
    fn from(azure: Azure) -> Self {
        Kind::Azure(Box::new(azure)).into()
    }
}
