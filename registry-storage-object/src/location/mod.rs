//! [`Location`]: which bucket of which store.

mod s3;

pub use self::s3::S3;

use crate::{
    bucket::{Bucket, Clients, Dialect, Observed},
    options::ObjectOptions,
};
use object_store::memory::InMemory;
use registry_core::storage::StorageError;
use std::sync::Arc;

/// A bucket of an object store.
#[derive(Clone, Debug)]
pub struct Location(Kind);

#[derive(Clone, Debug)]
enum Kind {
    S3(Box<S3>),
    Memory(Arc<InMemory>),
}

impl Location {
    /// Names a new, empty bucket in the memory of this process. Clones name the same bucket.
    #[must_use]
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::new(InMemory::new())))
    }

    pub(crate) fn bucket(&self, options: &ObjectOptions) -> Result<Bucket, StorageError> {
        let clients = match &self.0 {
            Kind::S3(s3) => s3.clients()?,
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
        Ok(Bucket::new(clients, &options.root))
    }
}

impl From<S3> for Location {
    fn from(s3: S3) -> Self {
        Self(Kind::S3(Box::new(s3)))
    }
}
