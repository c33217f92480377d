//! The plane for collection in memory.
//!
//! A removed link leaves the bytes of its blob, which are removed as data. Bytes whose last link a request deletes are
//! freed at once.

use super::{
    MemoryStorage,
    state::{OpenRun, Shared, State},
    touches::{Idle, Stamp, Touch},
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{
        Census, Deletion, Due, Reclaimed, Result, Run, StorageCollect, StorageError, Suspect, Terms, Victim,
        Waiting,
    },
};
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
impl StorageCollect for MemoryStorage {
    fn is_own(&self) -> bool {
        true
    }

    async fn expected_manifests(&self) -> Result<Option<u64>> {
        let collection = &self.state().collection;
        let left = collection.previous.map(|previous| previous.manifests);
        Ok(left.map(|left| left.saturating_sub(collection.deleted)))
    }

    async fn begin(&self, terms: Terms) -> Result<Run> {
        let mut state = self.state();
        if let Some(open) = &state.collection.open {
            return Err(StorageError::busy(format!("run {} of this process", open.id)));
        }
        // Promises are made under the lock, so that none is being made now.
        let since = state.stamp().order;
        let collection = &mut state.collection;
        collection.runs += 1;
        let id = collection.runs;
        collection.open = Some(OpenRun {
            id,
            since,
            deleted: collection.deleted,
        });
        let guard = Open {
            state: self.state.clone(),
            id,
        };
        Ok(Run::new(id, terms, collection.previous)
            .with_deleted(collection.deleted)
            .holding(guard))
    }

    async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        let mut state = self.state();
        let now = state.stamp();
        Ok(victims
            .iter()
            .map(|victim| state.due(victim, terms, now))
            .collect())
    }

    async fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>> {
        let state = self.state();
        let is_released = |digest| {
            state
                .blobs
                .get(digest)
                .is_some_and(|blob| blob.touch.is_released())
        };
        Ok(blobs.iter().map(is_released).collect())
    }

    async fn condemn(&self, run: &Run, _: &[Victim]) -> Result<Waiting> {
        self.state().since(run)?;
        Ok(Waiting::Ready)
    }

    async fn reclaim(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let mut state = self.state();
        let since = state.since(run)?;
        let now = state.stamp();
        Ok(victims
            .iter()
            .map(|victim| state.reclaim(victim, &run.terms, since, now))
            .collect())
    }

    async fn end(&self, run: Run, seen: Census) -> Result<()> {
        let mut state = self.state();
        state.since(&run)?;
        let collection = &mut state.collection;
        let counted = collection.open.as_ref().map_or(0, |open| open.deleted);
        // What requests delete during a run, it may have seen.
        collection.deleted = collection.deleted.saturating_sub(counted);
        collection.previous = Some(seen);
        drop(state);
        drop(run);
        Ok(())
    }

    async fn suspects(&self, after: u64, limit: usize) -> Result<Vec<Suspect>> {
        Ok(self.state().collection.suspects.after(after, limit))
    }
}

/// Ends the run when it is dropped, so that the next one may begin.
struct Open {
    state: Shared,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let collection = &mut state.collection;
        collection.open.take_if(|open| open.id == self.id);
    }
}

impl State {
    /// Returns the point at which the run began.
    fn since(&self, run: &Run) -> Result<u64> {
        let open = self.collection.open.as_ref().filter(|open| open.id == run.id);
        let open = open.ok_or_else(|| StorageError::internal(format!("run {} has ended", run.id)))?;
        Ok(open.since)
    }

    fn due(&self, victim: &Victim, terms: &Terms, now: Stamp) -> Due {
        let Some(touch) = self.touch_of(victim) else {
            return Due::Absent;
        };
        if self.is_tagged(victim) || self.is_uploading(victim) {
            return Due::InUse;
        }
        let touches = [Some(touch), self.touch_of_subject(victim)].into_iter().flatten();
        let left = touches.filter_map(|touch| match touch.idle(terms, now) {
            Idle::Yes => None,
            Idle::In(left) => Some(left),
        });
        let left = left.chain(self.pushing(victim, touch, terms, now));
        match left.max() {
            None => Due::now(self.bytes_of(victim)),
            Some(left) => Due::Later(left),
        }
    }

    fn reclaim(&mut self, victim: &Victim, terms: &Terms, since: u64, now: Stamp) -> Reclaimed {
        let mut touches = [self.touch_of(victim), self.touch_of_subject(victim)]
            .into_iter()
            .flatten();
        if touches.any(|touch| touch.is_after(since)) {
            return Reclaimed::InUse;
        }
        match self.due(victim, terms, now) {
            Due::Now { .. } if self.is_held(victim) => Reclaimed::InUse,
            Due::Now { bytes } => {
                self.remove(victim, terms);
                Reclaimed::removed(bytes)
            }
            Due::Later(left) => Reclaimed::Later(left),
            Due::InUse => Reclaimed::InUse,
            Due::Absent => Reclaimed::Absent,
        }
    }

    fn touch_of(&self, victim: &Victim) -> Option<Touch> {
        match victim {
            Victim::Manifest(repository, digest) => {
                let manifests = &self.repositories.get(repository)?.manifests;
                manifests.get(digest).map(|manifest| manifest.touch)
            }
            Victim::Link(repository, digest) => self.repositories.get(repository)?.blobs.get(digest).copied(),
            Victim::Data(digest) => self.blobs.get(digest).map(|blob| blob.touch),
            Victim::Repository(repository) => self.repositories.get(repository).map(|found| found.touch),
        }
    }

    /// Returns the last use of the subject of a manifest. A referrer stays if its subject comes into use.
    fn touch_of_subject(&self, victim: &Victim) -> Option<Touch> {
        let Victim::Manifest(repository, digest) = victim else {
            return None;
        };
        let manifests = &self.repositories.get(repository)?.manifests;
        let subject = manifests.get(digest)?.subject?;
        manifests.get(&subject).map(|subject| subject.touch)
    }

    fn is_tagged(&self, victim: &Victim) -> bool {
        let Victim::Manifest(repository, digest) = victim else {
            return false;
        };
        let found = self.repositories.get(repository);
        found.is_some_and(|repository| repository.tags.values().any(|target| target == digest))
    }

    /// Returns the time for which a link stays because a client may be pushing the manifest that names it.
    fn pushing(&self, victim: &Victim, touch: Touch, terms: &Terms, now: Stamp) -> Option<Duration> {
        let Victim::Link(repository, _) = victim else {
            return None;
        };
        let pushed = self.repositories.get(repository)?.touch.age(now);
        let left = terms.uploading.saturating_sub(pushed);
        let may_be_of_it = touch.age(now) < Terms::LONGEST_PUSH && !touch.is_unused_since_release();
        (!left.is_zero() && may_be_of_it).then_some(left)
    }

    fn is_uploading(&self, victim: &Victim) -> bool {
        let Victim::Repository(repository) = victim else {
            return false;
        };
        let found = self.repositories.get(repository);
        found.is_some_and(|repository| !repository.uploads.is_empty())
    }

    /// Returns true for bytes with a link, and for a repository that holds anything.
    fn is_held(&self, victim: &Victim) -> bool {
        match victim {
            Victim::Data(digest) => self
                .blobs
                .get(digest)
                .is_some_and(|blob| !blob.holders.is_empty()),
            Victim::Repository(repository) => {
                let found = self.repositories.get(repository);
                found.is_some_and(|repository| !repository.is_empty())
            }
            Victim::Manifest(..) | Victim::Link(..) => false,
        }
    }

    /// Returns the number of bytes that the removal frees. The bytes of a blob go with its data.
    fn bytes_of(&self, victim: &Victim) -> u64 {
        let bytes = match victim {
            Victim::Manifest(repository, digest) => self
                .repositories
                .get(repository)
                .and_then(|found| found.manifests.get(digest))
                .map(|manifest| &manifest.bytes),
            Victim::Data(digest) => self.blobs.get(digest).map(|blob| &blob.bytes),
            Victim::Link(..) | Victim::Repository(_) => None,
        };
        bytes.map_or(0, |bytes| bytes.len() as u64)
    }

    fn remove(&mut self, victim: &Victim, terms: &Terms) {
        match victim {
            Victim::Manifest(repository, digest) => {
                let found = self.repositories.get_mut(repository);
                let removed = found.and_then(|found| found.remove_manifest(digest, &how(terms)));
                if removed.is_some() {
                    self.collection.deleted += 1;
                    if let Some(open) = &mut self.collection.open {
                        open.deleted += 1;
                    }
                }
            }
            Victim::Link(repository, digest) => self.unlink(repository, digest),
            Victim::Data(digest) => drop(self.blobs.remove(digest)),
            Victim::Repository(repository) => {
                if let Some(found) = self.repositories.remove(repository)
                    && !found.trash.is_empty()
                {
                    self.repository(repository).trash = found.trash;
                }
            }
        }
    }

    /// Removes a blob from a repository, and leaves its bytes.
    fn unlink(&mut self, repository: &RepositoryName, digest: &Digest) {
        if let Some(found) = self.repositories.get_mut(repository) {
            found.blobs.remove(digest);
        }
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.holders.remove(repository);
        }
    }
}

/// Describes the removal of a manifest for its record.
fn how(terms: &Terms) -> Deletion {
    match terms.permanent {
        true => Deletion::new().permanently(),
        false => Deletion::new(),
    }
}
