//! Referrers in a layout: entries with a subject, and the entries of indexes under referrers tags.

use super::images::Layout;
use crate::{error::Error, manifests::parsed};
use registry_core::{AnyDigest, Descriptor, Digest};
use std::collections::BTreeMap;

impl Layout {
    pub(super) fn referrers_of(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        if self.referrers.get().is_none() {
            // Another thread may have been faster, with the same result.
            let _ = self.referrers.set(self.find_referrers()?);
        }
        let known = self.referrers.get().and_then(|known| known.get(subject));
        Ok(known.cloned().unwrap_or_default())
    }

    fn find_referrers(&self) -> Result<BTreeMap<Digest, Vec<Descriptor>>, Error> {
        // A manifest of any media type may have a subject. Those of unknown types may be other content.
        let mut candidates: BTreeMap<Digest, bool> = BTreeMap::new();
        for entry in self.all_entries() {
            let Descriptor {
                digest, media_type, ..
            } = &entry.descriptor;
            candidates.insert(*digest, media_type.is_manifest());
            if entry.tags().iter().any(registry_core::Tag::is_of_referrers) {
                let index = self.read_manifest(digest)?;
                let index = index
                    .map(|index| parsed(self.files.place(), &index))
                    .transpose()?;
                for child in index.iter().flat_map(|index| index.manifests()) {
                    if let AnyDigest::Known(digest) = child.digest {
                        candidates.entry(digest).or_insert_with(|| child.is_manifest());
                    }
                }
            }
        }
        let mut found: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for (digest, is_manifest) in candidates {
            let referrer = match self.referrer(&digest) {
                Err(Error::Layout { .. } | Error::Manifest { .. }) if !is_manifest => continue,
                referrer => referrer?,
            };
            if let Some((subject, descriptor)) = referrer {
                found.entry(subject).or_default().push(descriptor);
            }
        }
        Ok(found)
    }

    /// Returns the subject of a manifest and its descriptor. One that is absent refers to nothing.
    fn referrer(&self, digest: &Digest) -> Result<Option<(Digest, Descriptor)>, Error> {
        let Some(manifest) = self.read_manifest(digest)? else {
            return Ok(None);
        };
        let size = manifest.bytes.len() as u64;
        Ok(parsed(self.files.place(), &manifest)?.referrer(*digest, size))
    }
}
