//! [`Location`]: which bucket of which store.

mod azure;
mod classified;
mod gcs;
mod network;
mod s3;

pub use self::{
    azure::Azure,
    gcs::Gcs,
    s3::{S3, S3Encryption},
};

use crate::bucket::{Bucket, Clients, Dialect, Observed};
use object_store::memory::InMemory;
use registry_core::storage::StorageError;
use std::sync::Arc;

/// A bucket of an object store.
#[derive(Clone, Debug)]
pub struct Location(Kind);

#[derive(Clone, Debug)]
enum Kind {
    S3(Box<S3>),
    Gcs(Box<Gcs>),
    Azure(Box<Azure>),
    Memory(Arc<InMemory>),
}

impl Location {
    /// Names a new, empty bucket in the memory of this process. Clones name the same bucket.
    #[must_use]
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::new(InMemory::new())))
    }

    pub(crate) fn bucket(&self, root: &str) -> Result<Bucket, StorageError> {
        let clients = match &self.0 {
            Kind::S3(s3) => s3.clients()?,
            Kind::Gcs(gcs) => gcs.clients()?,
            Kind::Azure(azure) => azure.clients()?,
            Kind::Memory(memory) => Clients {
                dialect: Dialect::Memory,
                objects: Arc::clone(memory) as _,
                parts: Arc::clone(memory) as _,
                pages: None,
                signer: None,
                observed: Arc::new(Observed::default()),
                one: Arc::default(),
            },
        };
        Ok(Bucket::new(clients, root))
    }
}

impl From<S3> for Location {
    fn from(s3: S3) -> Self {
        Self(Kind::S3(Box::new(s3)))
    }
}

impl From<Gcs> for Location {
    fn from(gcs: Gcs) -> Self {
        Self(Kind::Gcs(Box::new(gcs)))
    }
}

impl From<Azure> for Location {
    fn from(azure: Azure) -> Self {
        Self(Kind::Azure(Box::new(azure)))
    }
}
