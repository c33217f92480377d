//! Reads every manifest of a repository to find the referrers and their subjects.
//!
//! It builds the index of referrers, and replaces it if no process maintains the index. What was read is
//! [remembered](crate::known_manifests), so that each later scan only lists the manifests.

use crate::{
    error::FsError, known_manifests::Scanned, names::names_after, pauses::Point, referrer_entry::Entry,
    store::Store,
};
use registry_core::{Algorithm, Digest, RepositoryName, manifest::Manifest, storage::Result};
use std::collections::HashSet;

impl Store {
    pub(crate) fn scan_manifests(&self, repository: &RepositoryName) -> Result<Scanned> {
        self.known_manifests.use_now(repository);
        let mut scanned = Scanned::default();
        for algorithm in Algorithm::ALL {
            let retyped = self.retyped(repository, algorithm)?;
            for digest in self.revision_digests(repository, algorithm)? {
                self.require_open()?;
                let known = if retyped.contains(&digest) {
                    None
                } else {
                    self.known_manifests.of(repository, &digest)
                };
                let entry = match known {
                    Some(known) => known,
                    None => self.scan_manifest(repository, &digest)?,
                };
                scanned.add(entry);
            }
        }
        self.pauses.reach(Point::ManifestScanRead);
        Ok(scanned)
    }

    fn scan_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Entry>> {
        let Some(manifest) = self.revision(repository, digest)? else {
            return Ok(None);
        };
        let entry = Entry::of(&manifest);
        // A damaged manifest may be pushed again. One whose media type differs from its bytes may be put with another.
        let is_final = Digest::of(digest.algorithm(), &manifest.bytes) == *digest
            && manifest.media_type == Manifest::sniff_media_type(&manifest.bytes);
        if is_final {
            self.known_manifests.remember(repository, digest, entry);
        }
        Ok(entry)
    }

    /// Returns the manifests whose media type is not the one of their bytes, and may change.
    fn retyped(&self, repository: &RepositoryName, algorithm: Algorithm) -> Result<HashSet<Digest>, FsError> {
        let directory = self.layout.media_types(repository, algorithm);
        let names = names_after(&directory, None)?;
        let digests = names
            .into_iter()
            .filter_map(|name| Digest::from_hex(algorithm, &name.0).ok());
        Ok(digests.collect())
    }
}
