//! Removal of data: the bytes of a blob or a manifest.

use super::{
    nearby::Item,
    removals::Removals,
    run::{Examination, State},
};
use crate::{digest_locks::Key, error::FsError};
use registry_core::{
    Digest,
    storage::{Reclaimed, Result},
};

impl Examination<'_> {
    pub(super) fn data(&self, digest: &Digest) -> Result<(Vec<Key>, State), FsError> {
        self.examine_data(digest, &self.data_item(digest))
    }

    fn data_item(&self, digest: &Digest) -> Item {
        self.nearby.item(self.store.layout.blob(digest))
    }

    fn examine_data(&self, digest: &Digest, item: &Item) -> Result<(Vec<Key>, State), FsError> {
        let state = match item.size()? {
            None => State::Absent,
            Some(_) if self.is_committing(digest) => State::InUse,
            Some(bytes) => State::Unused(bytes),
        };
        Ok((vec![self.store.digest_locks.key(digest)], state))
    }

    pub(super) fn reclaim_data(&self, digest: &Digest, removals: &mut Removals) -> Result<Reclaimed> {
        let store = self.store;
        let key = store.digest_locks.key(digest);
        let Some(_locks) = store.digest_locks.try_exclusive([key]) else {
            return Ok(Reclaimed::InUse);
        };
        let item = self.data_item(digest);
        let (keys, state) = self.examine_data(digest, &item)?;
        self.remove_if_idle(&keys, state, || {
            // Nobody quarantines it meanwhile.
            let _lock = store.blobs.lock(*digest);
            removals.remove(&item, &store.disk, &store.pauses)?;
            store.reported.forget(item.path());
            Ok(())
        })
    }
}
