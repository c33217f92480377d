//! Manifests as readers see them.
//!
//! Requests to the store: a manifest by tag costs one for the tag, then two at once for the record and the content. If
//! the content is [kept](crate::known_manifests) in memory, by tag only the tag is read. By digest, the record and a look at
//! the content are asked for at once: a client that is told that a manifest exists does not push it again. A manifest whose
//! bytes say no media type costs one more.

use crate::{gate::Promised, keys, known_manifests::Known, marks::is_marked, store::Store, tags::Link};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use registry_core::{
    Digest, MediaType, Reference, RepositoryName,
    manifest::Manifest,
    storage::{Document, Result, StorageError, StoredManifest},
};
use serde::Deserialize;
use std::borrow::Cow;

/// Maximum size of a manifest, in bytes. Anything larger is a layer.
const LARGEST: u64 = 16 << 20;

/// Size above which a document is not hashed on a thread of the runtime, in bytes.
const SMALL: usize = 256 << 10;

/// Content that is stored by the digest of a manifest.
enum Content {
    Whole(Known),
    /// Other bytes.
    Damaged(Bytes),
    /// Nothing, or something too large for a manifest.
    Lost,
}

/// The field of a manifest that says its type.
#[derive(Deserialize)]
struct Stated<'a> {
    #[serde(borrow, rename = "mediaType")]
    media_type: Option<Cow<'a, str>>,
}

impl Store {
    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match reference {
            Reference::Digest(digest) => {
                if !self.options.read_only {
                    // A client that copies a graph pushes nothing of what is below a manifest that it finds.
                    let view = self.gate.view(&self.bucket).await?;
                    let promised = [Promised::Manifest(repository, digest)];
                    if !self.gate.offer(&self.bucket, &view, &promised).await? {
                        return Ok(None);
                    }
                }
                self.revision(repository, digest).await
            }
            Reference::Tag(tag) => {
                let Some(target) = self.tag_target(repository, tag).await? else {
                    return Ok(None);
                };
                match self.known_manifests.get(&target) {
                    // The tag itself says that the repository has it.
                    Some(known) => self.with_media_type(repository, &target, known).await.map(Some),
                    None => self.revision(repository, &target).await,
                }
            }
        }
    }

    /// Reads a manifest of which a repository has a record.
    pub(crate) async fn revision(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        let content = async {
            match self.known_manifests.get(digest) {
                Some(known) if self.is_stored(digest, &known).await? => Ok(Content::Whole(known)),
                _ => self.read_document(digest, digest).await,
            }
        };
        let (link, content) = tokio::join!(self.revision_link(repository, digest), content);
        let content = match link? {
            Link::None => return Ok(None),
            Link::Garbled => {
                tracing::warn!(%repository, %digest, "the record of a manifest contains no digest, or a wrong one; it counts as absent");
                return Ok(None);
            }
            Link::To(target) if target == *digest => content?,
            Link::To(target) => self.read_document(digest, &target).await?,
        };
        match content {
            Content::Whole(known) => self.with_media_type(repository, digest, known).await.map(Some),
            Content::Damaged(bytes) => {
                tracing::error!(
                    %repository, %digest, size = bytes.len(),
                    "a manifest is damaged; it counts as absent until it is pushed again"
                );
                Ok(None)
            }
            Content::Lost => {
                tracing::error!(
                    %repository, %digest, "the content of a manifest is lost; it counts as absent until it is pushed again"
                );
                Ok(None)
            }
        }
    }

    /// Returns false if content that is kept is no longer in the bucket: a client that is told of it would not push it again.
    async fn is_stored(&self, digest: &Digest, known: &Known) -> Result<bool> {
        if self.options.read_only {
            return Ok(true);
        }
        let found = self.bucket.head(&keys::blob(digest)).await?;
        Ok(found.is_some_and(|found| found.size == known.bytes.len() as u64))
    }

    /// Reads the record of a manifest.
    pub(crate) async fn revision_link(&self, repository: &RepositoryName, digest: &Digest) -> Result<Link> {
        Ok(self.record(repository, digest).await?.0)
    }

    /// Reads the record of a manifest. Returns true as well if it has the [mark](crate::marks) of a deletion.
    pub(crate) async fn record(&self, repository: &RepositoryName, digest: &Digest) -> Result<(Link, bool)> {
        let object = self.bucket.get_link(&keys::revision(repository, digest)).await?;
        let bytes = object.as_ref().map(|object| &object.bytes[..]);
        Ok((Link::of(digest, bytes), bytes.is_some_and(is_marked)))
    }

    /// Reads a manifest by the digest by which its bytes are stored.
    pub(crate) async fn document_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: &Digest,
    ) -> Result<Document> {
        Ok(match self.read_document(digest, stored).await? {
            Content::Whole(known) => Document::Whole(self.with_media_type(repository, digest, known).await?),
            Content::Damaged(bytes) => Document::Damaged(bytes),
            Content::Lost => Document::Lost,
        })
    }

    /// Reads and verifies content that is stored by the digest `stored`, and keeps it.
    async fn read_document(&self, digest: &Digest, stored: &Digest) -> Result<Content> {
        let key = keys::blob(stored);
        let Some((meta, mut chunks)) = self.bucket.read_whole(&key).await? else {
            return Ok(Content::Lost);
        };
        if meta.size == 0 || meta.size > LARGEST {
            return Ok(Content::Lost);
        }
        let size = usize::try_from(meta.size).unwrap_or_default();
        // Held until the document is verified: it bounds the memory that the registry has not counted yet.
        let _slot = match size > SMALL {
            true => self.large_reads.acquire().await.ok(),
            false => None,
        };
        let mut bytes = BytesMut::with_capacity(size);
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let bytes = bytes.freeze();
        if !is_of(&bytes, digest, stored).await? {
            return Ok(Content::Damaged(bytes));
        }
        let known = Known {
            stated: stated(&bytes),
            bytes,
        };
        self.known_manifests.add(digest, known.clone());
        Ok(Content::Whole(known))
    }

    /// Adds the media type to the bytes of a manifest: what they say, or else what it was pushed with.
    async fn with_media_type(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        known: Known,
    ) -> Result<StoredManifest> {
        let media_type = match known.stated {
            Some(stated) => stated,
            None => {
                let object = self
                    .bucket
                    .get_link(&keys::media_type(repository, digest))
                    .await?;
                let text = object
                    .as_ref()
                    .and_then(|object| str::from_utf8(&object.bytes).ok());
                text.and_then(|text| MediaType::parse(text).ok())
                    .unwrap_or_else(|| Manifest::sniff_media_type(&known.bytes))
            }
        };
        Ok(StoredManifest::new(*digest, media_type, known.bytes))
    }
}

/// Returns the media type that a manifest says itself.
pub(crate) fn stated(bytes: &[u8]) -> Option<MediaType> {
    let stated: Stated<'_> = serde_json::from_slice(bytes).ok()?;
    MediaType::parse(&stated.media_type?).ok()
}

/// Returns true if the bytes have both digests.
async fn is_of(bytes: &Bytes, digest: &Digest, stored: &Digest) -> Result<bool> {
    let (bytes, digest, stored) = (bytes.clone(), *digest, *stored);
    let is_small = bytes.len() <= SMALL;
    let hash = move || {
        let is_of = |digest: &Digest| Digest::of(digest.algorithm(), &bytes) == *digest;
        is_of(&stored) && (digest == stored || is_of(&digest))
    };
    if is_small {
        return Ok(hash());
    }
    tokio::task::spawn_blocking(hash)
        .await
        .map_err(|error| StorageError::unavailable("the runtime is shutting down", None, Some(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_states_a_media_type_only_in_its_own_field() {
        let text = |bytes: &[u8]| stated(bytes).map(|stated| stated.as_str().to_owned());
        let oci = MediaType::OCI_MANIFEST;
        assert_eq!(
            text(format!(r#"{{"config":{{"mediaType":"a/b"}},"mediaType":"{oci}"}}"#).as_bytes()),
            Some(oci.to_owned())
        );
        for other in [
            r#"{"config":{"mediaType":"a/b"}}"#,
            r#"{"mediaType":1}"#,
            r#"{"mediaType":"x y"}"#,
            r#"{"mediatype":"a/b"}"#,
            "[]",
            "x",
        ] {
            assert_eq!(text(other.as_bytes()), None, "{other}");
        }
    }
}
