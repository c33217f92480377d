//! Removal of data: the bytes of a blob or a manifest.

use super::{
    removals::Removals,
    run::{Examination, State},
};
use crate::{
    digest_locks::Key,
    error::{Context as _, FsError},
};
use registry_core::{
    Digest,
    storage::{Reclaimed, Result},
};
use std::fs;

impl Examination<'_> {
    pub(super) fn data(&self, digest: &Digest) -> Result<(Vec<Key>, State), FsError> {
        let path = self.store.layout.blob(digest);
        let there = fs::symlink_metadata(&path).if_there("read the metadata of", &path)?;
        let state = match there {
            None => State::Absent,
            Some(_) if self.is_committing(digest) => State::InUse,
            Some(there) => State::Unused(there.len()),
        };
        Ok((vec![self.store.digest_locks.key(digest)], state))
    }

    pub(super) fn reclaim_data(&self, digest: &Digest, removals: &mut Removals) -> Result<Reclaimed> {
        let store = self.store;
        let key = store.digest_locks.key(digest);
        let Some(_locks) = store.digest_locks.try_exclusive([key]) else {
            return Ok(Reclaimed::InUse);
        };
        let (keys, state) = self.data(digest)?;
        self.remove_if_idle(&keys, state, || {
            // Nobody quarantines it meanwhile.
            let _lock = store.blobs.lock(*digest);
            let path = store.layout.blob(digest);
            removals.remove(&path, &store.disk, &store.pauses)?;
            store.reported.forget(&path);
            Ok(())
        })
    }
}
