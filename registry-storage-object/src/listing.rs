//! Listings for readers.

use crate::store::Store;
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Listing, Page, Result, StorageError},
};

impl Store {
    pub(crate) async fn tag_page(
        &self,
        _: &RepositoryName,
        _: Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>> {
        Err(StorageError::Unsupported("list"))
    }

    pub(crate) async fn repository_page(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        Err(StorageError::Unsupported("list"))
    }

    pub(crate) async fn holder_page(
        &self,
        _: &Digest,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        Err(StorageError::Unsupported("list"))
    }
}
