//! A layout as a source.

use super::{entries::INDEX, files::DOCUMENT, images::Layout, lookup::Tagged};
use crate::{
    error::Error,
    source::{Blob, LeftOut, Page, Source},
};
use async_trait::async_trait;
use registry_core::{Descriptor, Digest, Reference, Tag, storage::StoredManifest};

#[async_trait]
impl Source for Layout {
    fn describe(&self) -> String {
        self.files.place().to_owned()
    }

    fn left_out(&self) -> Option<&LeftOut> {
        self.left_out.as_deref()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        match reference {
            Reference::Tag(tag) => self.tagged(tag),
            Reference::Digest(digest) => {
                let found = self.read_manifest(digest)?;
                Ok(found
                    .map(|found| Descriptor::new(found.media_type, found.digest, found.bytes.len() as u64)))
            }
        }
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        self.read_manifest(digest)
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let opened = self.open_blob(digest, from)?;
        Ok(opened.map(|(size, stream)| Blob::new(size, stream)))
    }

    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        let tags = self.lookup.tags();
        let later = tags.filter(|tag| after.is_none_or(|after| *tag > after));
        Ok(Page::new(later.cloned().collect(), None))
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        let found = self.referrers_of(subject)?;
        let later = found
            .into_iter()
            .filter(|found| after.is_none_or(|after| found.digest > *after));
        Ok(Page::new(later.collect(), None))
    }
}

impl Layout {
    /// Returns the entry with a tag.
    fn tagged(&self, tag: &Tag) -> Result<Option<Descriptor>, Error> {
        let found = match self.lookup.tag(tag) {
            None => None,
            Some(Tagged::One(found)) => Some(found),
            Some(Tagged::Several) => {
                let reason = format!("several images have the tag {tag}; select one repository");
                return Err(Error::layout(self.files.place(), INDEX, reason));
            }
        };
        if let Some(found) = found.filter(|found| found.size > DOCUMENT) {
            let reason = format!(
                "{} has {} bytes, more than a manifest may have",
                found.digest, found.size
            );
            return Err(Error::layout(self.files.place(), INDEX, reason));
        }
        Ok(found.cloned())
    }
}
