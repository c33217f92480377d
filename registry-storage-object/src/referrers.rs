//! The index of referrers.

use crate::store::Store;
use registry_core::{
    Descriptor, Digest, RepositoryName,
    storage::{Listing, Page, Referring, Result, StorageError},
};

impl Store {
    pub(crate) async fn referrer_page(
        &self,
        _: &RepositoryName,
        _: Referring<'_>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        Err(StorageError::Unsupported("list"))
    }
}
