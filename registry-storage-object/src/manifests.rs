//! Manifests as they are put.

use crate::store::Store;
use registry_core::{
    RepositoryName,
    storage::{PutManifest, PutOutcome, Result, StorageError},
};

impl Store {
    pub(crate) async fn put_manifest(&self, _: &RepositoryName, _: PutManifest) -> Result<PutOutcome> {
        Err(StorageError::Unsupported("write"))
    }
}
