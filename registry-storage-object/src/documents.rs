//! Manifests as inspection reads them: also damaged ones, and those of which a repository has lost its record.

use crate::{keys, links::read_link, store::Store};
use registry_core::{
    Digest, RepositoryName,
    storage::{Document, Page, Result},
};

impl Store {
    /// Reads a manifest, or what a tag points at without a record.
    pub(crate) async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        let link = self.bucket.get_link(&keys::revision(repository, digest)).await?;
        if let Some(stored) = link.and_then(|link| read_link(&link.bytes, digest)) {
            return self.document_at(repository, digest, &stored).await;
        }
        if self.stored(digest).await?.is_none() {
            return Ok(Document::Lost);
        }
        // Otherwise the bytes may be those of another repository.
        let tags = self.tag_of_page(repository, digest, Page::first(1)).await?;
        if tags.items.is_empty() {
            return Ok(Document::Lost);
        }
        self.document_at(repository, digest, digest).await
    }
}
