//! Manifests that deletions and moved tags released, until their closures are read.
//!
//! A deletion releases a manifest and all that it names. What that is matters only to a collection, so that a push
//! that moves a tag does not read the manifest that the tag leaves.

use crate::{closures::named_by, links, store::Store};
use registry_core::{
    Digest, RepositoryName,
    storage::{Result, StoredManifest, SuspectCause},
};
use std::collections::HashSet;

impl Store {
    /// Records that a deletion or a moved tag released a manifest.
    pub(crate) fn release_manifest(&self, repository: &RepositoryName, digest: &Digest) {
        let number = self.collecting.release([self.digest_locks.key(digest)]);
        self.collecting.releases().add(repository, *digest, number);
        self.collecting
            .suspect(repository, digest, SuspectCause::Released);
    }

    /// Does the same for a manifest that is gone, and was read before.
    pub(crate) fn release_removed(&self, repository: &RepositoryName, stored: &StoredManifest) {
        let number = self.collecting.release([self.digest_locks.key(&stored.digest)]);
        for child in self.release_named(repository, stored, number) {
            self.collecting.releases().add(repository, child, number);
        }
    }

    /// Records that a deletion accounts for the removal of a manifest, and of all that it names. Of what cannot be read,
    /// the next automatic run may have to be forced.
    pub(crate) fn account_for_removed(&self, repository: &RepositoryName, stored: &StoredManifest) {
        let mut blobs = vec![stored.digest];
        blobs.extend(
            links::read_of(&self.layout.revision(repository, &stored.digest), &stored.digest)
                .ok()
                .flatten(),
        );
        let mut unread = Vec::new();
        self.add_named(repository, stored, &mut blobs, &mut unread);
        let mut visited = HashSet::new();
        while let Some(manifest) = unread.pop() {
            if visited.insert(manifest)
                && let Ok(Some(stored)) = self.revision(repository, &manifest)
            {
                self.add_named(repository, &stored, &mut blobs, &mut unread);
            }
        }
        self.account_for(&blobs);
    }

    /// Reads the closures of the released manifests, and releases what they name.
    pub(crate) fn release_closures(&self) -> Result<()> {
        let released = self.collecting.releases().all();
        for ((repository, root), number) in released {
            let (mut unread, mut visited) = (vec![root], HashSet::new());
            while let Some(manifest) = unread.pop() {
                self.require_open()?;
                if !visited.insert(manifest) {
                    continue;
                }
                match self.revision(&repository, &manifest) {
                    Ok(Some(stored)) => unread.extend(self.release_named(&repository, &stored, number)),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(
                        %repository, digest = %manifest, %error,
                        "cannot read a manifest that was released; what only it names is kept for longer"
                    ),
                }
            }
            self.collecting.releases().forget(&(repository, root), number);
        }
        Ok(())
    }

    /// Releases what a manifest names. Returns what may be manifests.
    fn release_named(
        &self,
        repository: &RepositoryName,
        stored: &StoredManifest,
        number: u64,
    ) -> Vec<Digest> {
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        self.add_named(repository, stored, &mut blobs, &mut manifests);
        let keys = blobs.iter().map(|digest| self.digest_locks.key(digest));
        self.collecting.released(keys, number);
        manifests
    }

    /// Adds what a manifest names to `blobs`, with the targets of links, and to `manifests` what may be one.
    pub(super) fn add_named(
        &self,
        repository: &RepositoryName,
        stored: &StoredManifest,
        blobs: &mut Vec<Digest>,
        manifests: &mut Vec<Digest>,
    ) {
        for named in named_by(stored) {
            let item = named.item;
            blobs.push(item.digest);
            // An unreadable link only keeps its target for longer.
            let target = links::read_of(&self.layout.layer(repository, &item.digest), &item.digest);
            blobs.extend(target.ok().flatten());
            if item.need.admits_manifest() {
                manifests.push(item.digest);
            }
        }
    }
}
