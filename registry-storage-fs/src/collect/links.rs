//! Removal of links: a repository no longer has the blob. The bytes stay.

use super::{
    nearby::Item,
    removals::Removals,
    run::{Examination, State},
};
use crate::{digest_locks::Key, error::FsError, links::Link};
use registry_core::{
    Digest, RepositoryName,
    storage::{Reclaimed, Result},
};

impl Examination<'_> {
    pub(super) fn link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(Vec<Key>, State), FsError> {
        self.examine_link(repository, digest, &self.link_item(repository, digest))
    }

    fn link_item(&self, repository: &RepositoryName, digest: &Digest) -> Item {
        self.nearby.item(self.store.layout.layer(repository, digest))
    }

    fn examine_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        item: &Item,
    ) -> Result<(Vec<Key>, State), FsError> {
        let link = item.link()?;
        let target = match link {
            Link::To(target) => Some(target),
            Link::Garbled | Link::None => None,
        };
        let named = [Some(*digest), target.filter(|target| target != digest)]
            .into_iter()
            .flatten();
        let named: Vec<Digest> = named.collect();
        let locks = &self.store.digest_locks;
        let keys: Vec<Key> = named.iter().map(|digest| locks.key(digest)).collect();
        let state = match link != Link::None || item.size()?.is_some() {
            false => State::Absent,
            true if named.iter().any(|digest| self.is_committing(digest)) => State::InUse,
            true => match self.pushing(locks.repository(repository), &keys) {
                Some(rest) => State::Later(rest),
                None => State::Unused(0),
            },
        };
        Ok((keys, state))
    }

    pub(super) fn reclaim_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        removals: &mut Removals,
    ) -> Result<Reclaimed> {
        let store = self.store;
        let item = self.link_item(repository, digest);
        let mut locked = vec![store.digest_locks.key(digest)];
        loop {
            let Some(_locks) = store.digest_locks.try_exclusive(locked.iter().copied()) else {
                return Ok(Reclaimed::InUse);
            };
            let (keys, state) = self.examine_link(repository, digest, &item)?;
            if keys.iter().any(|key| !locked.contains(key)) {
                // The link of registry:2 for another digest of the same bytes.
                locked = keys;
                continue;
            }
            return self.remove_if_idle(&keys, state, || {
                removals.remove(&item, &store.disk, &store.pauses)?;
                store.holders.remove(digest, repository);
                Ok(())
            });
        }
    }
}
