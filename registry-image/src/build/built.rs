//! [`Built`]: content in memory, as a source.

use crate::{
    error::Error,
    platform::Platform,
    source::{Blob, Page, Source},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, Tag, manifest::Manifest, storage::StoredManifest,
};
use std::collections::BTreeMap;

/// An image, index or artifact that was built, with everything that belongs to it.
///
/// It has no tags. [`CopyItem::with_tags`](crate::CopyItem::with_tags) gives it some.
#[derive(Clone, Debug)]
pub struct Built {
    digest: Digest,
    pub(super) platform: Option<Platform>,
    manifests: BTreeMap<Digest, StoredManifest>,
    blobs: BTreeMap<Digest, Bytes>,
}

impl Built {
    pub(super) fn new(media_type: &str, document: Vec<u8>) -> Self {
        let media_type = MediaType::parse(media_type).expect("a constant is well-formed");
        let digest = Digest::of(Algorithm::Sha256, &document);
        let manifest = StoredManifest::new(digest, media_type, document.into());
        Self {
            digest,
            platform: None,
            manifests: BTreeMap::from([(digest, manifest)]),
            blobs: BTreeMap::new(),
        }
    }

    pub(super) fn with_blob(mut self, digest: Digest, bytes: Bytes) -> Self {
        self.blobs.insert(digest, bytes);
        self
    }

    /// Adds everything of an entry of this index.
    pub(super) fn with_entry(mut self, entry: &Self) -> Self {
        self.manifests.extend(entry.manifests.clone());
        self.blobs.extend(entry.blobs.clone());
        self
    }

    /// Returns the digest of the manifest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &StoredManifest {
        self.manifests.get(&self.digest).expect("it was added first")
    }

    /// Returns media type, digest and size of the manifest.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        described(self.manifest())
    }
}

fn described(manifest: &StoredManifest) -> Descriptor {
    Descriptor::new(
        manifest.media_type.clone(),
        manifest.digest,
        manifest.bytes.len() as u64,
    )
}

#[async_trait]
impl Source for Built {
    fn describe(&self) -> String {
        format!("the built {}", self.digest)
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        Ok(match reference {
            Reference::Digest(digest) => self.manifests.get(digest).map(described),
            Reference::Tag(_) => None,
        })
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        Ok(self.manifests.get(digest).cloned())
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let Some(bytes) = self.blobs.get(digest) else {
            return Ok(None);
        };
        let size = bytes.len() as u64;
        let Some(rest) = usize::try_from(from).ok().filter(|from| *from <= bytes.len()) else {
            return Err(Error::Size {
                place: self.describe(),
                digest: *digest,
                expected: from,
                actual: size,
            });
        };
        let rest = bytes.slice(rest..);
        Ok(Some(Blob::new(size, Box::pin(stream::iter([Ok(rest)])))))
    }

    async fn tags(&self, _: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        Ok(Page::new(Vec::new(), None))
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        let later = self
            .manifests
            .values()
            .filter(|found| after.is_none_or(|after| found.digest > *after));
        let found = later.filter_map(|found| {
            let parsed = Manifest::parse_stored(&found.bytes, &found.media_type).ok()?;
            let (of, descriptor) = parsed.referrer(found.digest, found.bytes.len() as u64)?;
            (of == *subject).then_some(descriptor)
        });
        Ok(Page::new(found.collect(), None))
    }
}
