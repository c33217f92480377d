//! Blobs and manifests as readers see them.

use crate::store::Store;
use registry_core::{
    Digest, Reference, RepositoryName,
    storage::{BlobInfo, BlobRead, ReadBlob, Result, StorageError, StoredManifest},
};

impl Store {
    pub(crate) async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>> {
        Err(StorageError::Unsupported("read"))
    }

    pub(crate) async fn open_blob(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        Err(StorageError::Unsupported("read"))
    }

    pub(crate) async fn manifest(&self, _: &RepositoryName, _: &Reference) -> Result<Option<StoredManifest>> {
        Err(StorageError::Unsupported("read"))
    }
}
