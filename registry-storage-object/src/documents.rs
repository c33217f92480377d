//! Manifests as inspection reads them: also damaged ones, and those of which a repository has lost its record.

use crate::{keys, links::read_link, store::Store};
use bytes::Bytes;
use registry_core::{
    Digest, MediaType, RepositoryName,
    manifest::Manifest,
    storage::{Document, Page, Result, StoredManifest},
};

/// Maximum size of content that is read although no record says that it is a manifest.
const UNRECORDED: u64 = 16 << 20;

impl Store {
    /// Reads a manifest, or what a tag points at without a record.
    pub(crate) async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        let link = self.bucket.get(&keys::revision(repository, digest)).await?;
        if let Some(stored) = link.and_then(|link| read_link(&link.bytes, digest)) {
            return self.document_at(repository, digest, &stored).await;
        }
        let found = self.stored(digest).await?;
        if found.is_none_or(|found| found.size > UNRECORDED) {
            return Ok(Document::Lost);
        }
        // Otherwise the bytes may be those of another repository.
        let tags = self.tag_of_page(repository, digest, Page::first(1)).await?;
        if tags.items.is_empty() {
            return Ok(Document::Lost);
        }
        self.document_at(repository, digest, digest).await
    }

    /// Reads the manifest of a digest from the bytes that are stored by another one, mostly the same.
    async fn document_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: &Digest,
    ) -> Result<Document> {
        let Some(data) = self.bucket.get(&keys::blob(stored)).await? else {
            return Ok(Document::Lost);
        };
        let is_of = |digest: &Digest| Digest::of(digest.algorithm(), &data.bytes) == *digest;
        if !is_of(digest) || !is_of(stored) {
            return Ok(match data.bytes.is_empty() {
                true => Document::Lost,
                false => Document::Damaged(data.bytes),
            });
        }
        let media_type = self.media_type_of(repository, digest, &data.bytes).await?;
        Ok(Document::Whole(StoredManifest::new(
            *digest, media_type, data.bytes,
        )))
    }

    async fn media_type_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<MediaType> {
        let stored = self.bucket.get(&keys::media_type(repository, digest)).await?;
        let stored = stored.and_then(|stored| MediaType::parse(str::from_utf8(&stored.bytes).ok()?).ok());
        Ok(stored.unwrap_or_else(|| Manifest::sniff_media_type(bytes)))
    }
}
