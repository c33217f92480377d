//! Links: the blobs that a repository holds.

use crate::store::Store;
use registry_core::{
    RepositoryName,
    storage::{BlobInfo, Mount, Result, StorageError},
};

impl Store {
    pub(crate) async fn mount(&self, _: &RepositoryName, _: Mount<'_>) -> Result<Option<BlobInfo>> {
        Err(StorageError::Unsupported("write"))
    }
}
