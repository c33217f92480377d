//! Removal of manifests: the link, which makes it one of the repository, then what belongs to it alone. Its bytes are
//! data.

use super::{
    removals::Removals,
    run::{Examination, State},
};
use crate::{digest_locks::Key, moves::is_there, referrer_entry::Entry};
use registry_core::{
    Digest, RepositoryName,
    storage::{Deletion, Reclaimed, Result},
};

impl Examination<'_> {
    pub(super) fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<(Vec<Key>, State)> {
        let link = self.store.layout.revision(repository, digest);
        let state = match is_there(&link)? {
            false => State::Absent,
            true if self.is_tagged(repository, digest)? => State::InUse,
            true => State::Unused(0),
        };
        Ok((vec![self.store.digest_locks.key(digest)], state))
    }

    pub(super) fn reclaim_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        removals: &mut Removals,
    ) -> Result<Reclaimed> {
        let store = self.store;
        // No put of the manifest, nor of one that names it, is between its check and its last tag.
        let Some(_locks) = store.digest_locks.try_exclusive([store.digest_locks.key(digest)]) else {
            return Ok(Reclaimed::InUse);
        };
        let (keys, state) = self.manifest(repository, digest)?;
        self.remove_if_idle(&keys, state, || {
            let found = store.revision(repository, digest);
            let how = match self.terms.permanent {
                true => Deletion::new().permanently(),
                false => Deletion::new(),
            };
            store.record_manifest(repository, digest, &found, &[], &how)?;
            // The entry of an unreadable manifest stays, and has no effect.
            let stored = found.ok().flatten();
            removals.remove(&store.layout.revision(repository, digest), &store.disk)?;
            // After the link, so that no manifest is ever served with another type.
            removals.remove_file(&store.layout.media_type(repository, digest), &store.disk)?;
            if let Some(entry) = stored.as_ref().and_then(Entry::of) {
                store.referrer_index().remove(repository, &entry);
            }
            Ok(())
        })
    }
}
