//! Referrers in a layout: entries with a subject, and the entries of indexes under referrers tags.

use super::images::Layout;
use crate::error::Error;
use registry_core::{AnyDigest, Descriptor, Digest, manifest::Manifest, storage::StoredManifest};
use std::collections::{BTreeMap, BTreeSet};

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
        let mut candidates: BTreeSet<Digest> = BTreeSet::new();
        for entry in self.all_entries() {
            let digest = entry.descriptor.digest;
            candidates.insert(digest);
            if entry.tags().iter().any(registry_core::Tag::is_of_referrers) {
                let index = self.read_manifest(&digest)?;
                let index = index.map(|index| self.parsed(&index)).transpose()?;
                let listed = index.iter().flat_map(|index| index.manifests());
                candidates.extend(listed.filter_map(|child| match &child.digest {
                    AnyDigest::Known(digest) => Some(*digest),
                    AnyDigest::Foreign(_) => None,
                }));
            }
        }
        let mut found: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for digest in candidates {
            // An entry whose content is absent refers to nothing.
            let Some(manifest) = self.read_manifest(&digest)? else {
                continue;
            };
            let size = manifest.bytes.len() as u64;
            if let Some((subject, descriptor)) = self.parsed(&manifest)?.referrer(digest, size) {
                found.entry(subject).or_default().push(descriptor);
            }
        }
        Ok(found)
    }

    fn parsed(&self, manifest: &StoredManifest) -> Result<Manifest, Error> {
        let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type);
        parsed.map_err(|source| Error::Manifest {
            place: self.files.place().to_owned(),
            digest: manifest.digest,
            source,
        })
    }
}
