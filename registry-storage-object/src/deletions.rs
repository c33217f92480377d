//! Deletions by request.

use crate::store::Store;
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Deletion, Result, StorageError, TagExpect},
};

impl Store {
    pub(crate) async fn delete_tag(
        &self,
        _: &RepositoryName,
        _: &Tag,
        _: TagExpect,
        _: Deletion,
    ) -> Result<Option<Digest>> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn delete_manifest(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        Err(StorageError::Unsupported("write"))
    }
}
