//! Removal of manifests: the link, which makes it one of the repository, then what belongs to it alone. Its bytes are
//! data.

use super::{
    nearby::Item,
    removals::Removals,
    run::{Examination, State},
};
use crate::{digest_locks::Key, moves::is_there, pauses::Point, referrer_entry::Entry};
use registry_core::{
    Digest, RepositoryName,
    storage::{Deletion, Reclaimed, Result, StoredManifest},
};

/// A manifest as it was read, or the reason for which it was not.
type Found = Result<Option<StoredManifest>>;

impl Examination<'_> {
    pub(super) fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<(Vec<Key>, State)> {
        let (keys, state, _) = self.read_manifest(repository, digest)?;
        Ok((keys, state))
    }

    /// Examines a manifest, and reads it unless it stays. Its keys include the one of its subject: a referrer stays if
    /// its subject is pushed again.
    fn read_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(Vec<Key>, State, Found)> {
        let store = self.store;
        let mut keys = vec![store.digest_locks.key(digest)];
        if !is_there(&store.layout.revision(repository, digest))? {
            return Ok((keys, State::Absent, Ok(None)));
        }
        if self.is_tagged(repository, digest)? {
            return Ok((keys, State::InUse, Ok(None)));
        }
        let found = store.revision(repository, digest);
        let entry = entry_of(&found);
        keys.extend(entry.map(|entry| store.digest_locks.key(&entry.subject)));
        Ok((keys, State::Unused(0), found))
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
        let (keys, state, found) = self.read_manifest(repository, digest)?;
        self.remove_if_idle(&keys, state, || {
            let how = match self.terms.permanent {
                true => Deletion::new().permanently(),
                false => Deletion::new(),
            };
            let is_recorded = store.record_manifest(repository, digest, &found, &[], &how)?;
            // What goes for good is accounted for together.
            if !is_recorded
                && !how.permanent
                && let Ok(Some(stored)) = &found
            {
                store.account_for_removed(repository, stored);
            }
            store.pauses.reach(Point::ReclaimManifestRecorded);
            store.count_removal();
            store.collecting.leaves_something(repository);
            let revision = self.nearby.item(store.layout.revision(repository, digest));
            removals.remove(&revision, &store.disk, &store.pauses)?;
            store.pauses.reach(Point::ReclaimManifestLinkRemoved);
            // After the link, so that no manifest is ever served with another type.
            let media_type = Item::by_path(store.layout.media_type(repository, digest));
            removals.remove_file(&media_type, &store.disk)?;
            if let Some(entry) = entry_of(&found) {
                store.referrer_index().remove(repository, &entry);
            }
            Ok(())
        })
    }
}

/// Returns the entry of a manifest with a subject. The entry of an unreadable manifest stays, and has no effect.
fn entry_of(found: &Found) -> Option<Entry> {
    found.as_ref().ok()?.as_ref().and_then(Entry::of)
}
