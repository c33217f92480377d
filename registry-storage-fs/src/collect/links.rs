//! Removal of links: a repository no longer has the blob. The bytes stay.

use super::{
    removals::Removals,
    run::{Examination, State},
};
use crate::{digest_locks::Key, error::FsError, links, moves::is_there};
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
        let path = self.store.layout.layer(repository, digest);
        let target = links::read(&path)?;
        let named = [Some(*digest), target.filter(|target| target != digest)]
            .into_iter()
            .flatten();
        let named: Vec<Digest> = named.collect();
        let state = match target.is_some() || is_there(&path)? {
            false => State::Absent,
            true if named.iter().any(|digest| self.is_committing(digest)) => State::InUse,
            true => State::Unused(0),
        };
        let keys = named.iter().map(|digest| self.store.digest_locks.key(digest));
        Ok((keys.collect(), state))
    }

    pub(super) fn reclaim_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        removals: &mut Removals,
    ) -> Result<Reclaimed> {
        let store = self.store;
        let mut locked = vec![store.digest_locks.key(digest)];
        loop {
            let Some(_locks) = store.digest_locks.try_exclusive(locked.iter().copied()) else {
                return Ok(Reclaimed::InUse);
            };
            let (keys, state) = self.link(repository, digest)?;
            if keys.iter().any(|key| !locked.contains(key)) {
                // The link of registry:2 for another digest of the same bytes.
                locked = keys;
                continue;
            }
            return self.remove_if_idle(&keys, state, || {
                removals.remove(
                    &store.layout.layer(repository, digest),
                    &store.disk,
                    &store.pauses,
                )?;
                store.holders.remove(digest, repository);
                Ok(())
            });
        }
    }
}
