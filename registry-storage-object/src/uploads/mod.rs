//! Upload sessions.

use crate::store::Store;
use registry_core::{
    RepositoryName, UploadId,
    hash::Hasher,
    storage::{
        BlobInfo, Listing, NewUpload, Page, Result, Seen, StorageError, UploadBody, UploadState, Verified,
    },
};

impl Store {
    pub(crate) async fn open_upload(&self, _: &RepositoryName, _: NewUpload) -> Result<UploadState> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn upload(&self, _: &RepositoryName, _: &UploadId) -> Result<Option<UploadState>> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn append(
        &self,
        _: &RepositoryName,
        _: UploadState,
        _: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn rehash(
        &self,
        _: &RepositoryName,
        _: UploadState,
        _: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn commit(&self, _: &RepositoryName, _: UploadState, _: Verified) -> Result<BlobInfo> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn cancel(&self, _: &RepositoryName, _: &UploadId) -> Result<bool> {
        Err(StorageError::Unsupported("write"))
    }

    pub(crate) async fn uploading_page(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        Ok(Listing::default())
    }

    pub(crate) async fn upload_page(
        &self,
        _: &RepositoryName,
        _: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        Ok(Listing::default())
    }
}
