//! State that all handles to a [`MemoryStorage`](super::MemoryStorage) share, with the operations that change
//! several maps at once.
//!
//! A blob and its digest in a repository change together. No other module adds or removes one of such a pair.

use super::{
    repository::Repository,
    touches::{Stamp, Touch},
    upload::Upload,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{
        BlobInfo, Census, Needed, Result, SizePolicy, StorageError, SuspectCause, SuspectList, UploadState,
        Verified, Victim, WrongSize,
    },
    upload_id::UploadId,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The state behind its lock. Clones are handles to the same state.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// Locks the state. A panic elsewhere cannot leave it inconsistent: every change is a few map operations.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The complete state, behind one lock.
#[derive(Default)]
pub(super) struct State {
    /// Blobs, each stored once for all its holders. A request that removes the last holder removes the blob.
    pub(super) blobs: BTreeMap<Digest, Blob>,
    pub(super) repositories: BTreeMap<RepositoryName, Repository>,
    /// Progress of a verification.
    pub(super) progress: Option<Vec<u8>>,
    pub(super) collection: Collection,
    /// Order of the last stamp.
    stamps: u64,
}

/// The open run of a collection, and facts for the next one.
#[derive(Default)]
pub(super) struct Collection {
    pub(super) open: Option<OpenRun>,
    /// Number of runs that have begun.
    pub(super) runs: u64,
    pub(super) previous: Option<Census>,
    /// Number of manifests that have gone since the last run ended.
    pub(super) deleted: u64,
    pub(super) suspects: SuspectList,
}

pub(super) struct OpenRun {
    pub(super) id: u64,
    /// Order of the stamp at which it began.
    pub(super) since: u64,
    /// Number of deleted manifests that its census does not contain.
    pub(super) deleted: u64,
}

pub(super) struct Blob {
    pub(super) bytes: Bytes,
    pub(super) holders: BTreeSet<RepositoryName>,
    pub(super) touch: Touch,
}

/// State of a session at its commit.
pub(super) enum Committable<'a> {
    /// The session exists, in the state that the caller saw.
    Session(&'a Upload),
    /// The session has ended and the blob exists: an earlier attempt succeeded.
    Done(BlobInfo),
}

impl State {
    /// Removes all content, and what collections and verifications have noted about it.
    pub(super) fn clear(&mut self) {
        *self = Self {
            // The order of uses goes on, and so do the ids of runs.
            stamps: self.stamps,
            collection: Collection {
                runs: self.collection.runs,
                ..Collection::default()
            },
            ..Self::default()
        };
    }

    pub(super) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<&Bytes> {
        let blob = self.blobs.get(digest)?;
        blob.holders.contains(repository).then_some(&blob.bytes)
    }

    /// Adds a blob to a repository. Existing content stays, because it has the same digest.
    pub(super) fn hold(&mut self, repository: &RepositoryName, digest: &Digest, bytes: Bytes) {
        let stamp = self.stamp();
        let blob = self.blobs.entry(*digest).or_insert_with(|| Blob {
            bytes,
            holders: BTreeSet::new(),
            touch: Touch::new(stamp),
        });
        blob.holders.insert(repository.clone());
        blob.touch.touch(stamp);
        let link = self.repository(repository).blobs.entry(*digest);
        link.or_insert_with(|| Touch::new(stamp)).touch(stamp);
    }

    pub(super) fn release(&mut self, repository: &RepositoryName, digest: &Digest) -> bool {
        let Some(found) = self.repositories.get_mut(repository) else {
            return false;
        };
        if found.blobs.remove(digest).is_none() {
            return false;
        }
        self.stamps += 1;
        let stamp = Stamp::new(self.stamps);
        found.touch.release(stamp);
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.holders.remove(repository);
            blob.touch.release(stamp);
            if blob.holders.is_empty() {
                self.blobs.remove(digest);
            }
        }
        true
    }

    /// Returns the repository of that name for a write, and creates it if it does not exist.
    pub(super) fn repository(&mut self, name: &RepositoryName) -> &mut Repository {
        let stamp = self.stamp();
        let repository = self
            .repositories
            .entry(name.clone())
            .or_insert_with(|| Repository::new(stamp));
        repository.touch.touch(stamp);
        repository
    }

    /// Returns the next point in the order of all uses.
    pub(super) fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp::new(self.stamps)
    }

    /// Records the use of a blob that a client was told to exist.
    pub(super) fn touch_blob(&mut self, repository: &RepositoryName, digest: &Digest) {
        let stamp = self.stamp();
        self.change_touches(repository, [*digest], |touch| touch.touch(stamp));
    }

    /// Records the use of a manifest and of everything that it names, directly or through other manifests.
    pub(super) fn touch_closure(&mut self, repository: &RepositoryName, digest: Digest) {
        let stamp = self.stamp();
        let closure = self.closure(repository, digest);
        self.change_touches(repository, closure, |touch| touch.touch(stamp));
    }

    /// Records that a deletion or the move of a tag has released a manifest and everything that it names.
    pub(super) fn release_closure(&mut self, repository: &RepositoryName, digest: Digest) {
        let closure = self.closure(repository, digest);
        self.release_all(repository, closure);
    }

    /// Records that a request has released a manifest, which may be gone.
    pub(super) fn suspect(&mut self, repository: &RepositoryName, manifest: Digest, cause: SuspectCause) {
        let victim = Victim::Manifest(repository.clone(), manifest);
        self.collection.suspects.add(victim, cause);
    }

    /// Records that a deletion has released content of a repository, and the repository.
    pub(super) fn release_all(&mut self, repository: &RepositoryName, digests: BTreeSet<Digest>) {
        let stamp = self.stamp();
        self.change_touches(repository, digests, |touch| touch.release(stamp));
        if let Some(found) = self.repositories.get_mut(repository) {
            found.touch.release(stamp);
        }
    }

    /// Records that the record of a deletion was forgotten that kept content of a repository. Its deletion has released
    /// it, so that whatever was used since stays as long as before.
    pub(super) fn forget_all(&mut self, repository: &RepositoryName, digests: BTreeSet<Digest>) {
        let stamp = self.stamp();
        self.change_touches(repository, digests, |touch| touch.forget(stamp));
    }

    pub(super) fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let found = self.repositories.get(repository);
        found.is_some_and(|found| found.manifests.contains_key(digest))
    }

    /// Returns a manifest and everything that it names, directly or through other manifests.
    pub(super) fn closure(&self, repository: &RepositoryName, digest: Digest) -> BTreeSet<Digest> {
        let manifests = self.repositories.get(repository).map(|found| &found.manifests);
        let (mut closure, mut open) = (BTreeSet::new(), vec![digest]);
        while let Some(digest) = open.pop() {
            if closure.insert(digest) {
                let manifest = manifests.and_then(|all| all.get(&digest));
                open.extend(manifest.into_iter().flat_map(|manifest| &manifest.named));
            }
        }
        closure
    }

    /// Changes what is recorded of manifests, links and bytes.
    fn change_touches(
        &mut self,
        repository: &RepositoryName,
        digests: impl IntoIterator<Item = Digest>,
        change: impl Fn(&mut Touch),
    ) {
        let Some(found) = self.repositories.get_mut(repository) else {
            return;
        };
        for digest in digests {
            if let Some(manifest) = found.manifests.get_mut(&digest) {
                change(&mut manifest.touch);
            }
            if let Some(link) = found.blobs.get_mut(&digest) {
                change(link);
                if let Some(blob) = self.blobs.get_mut(&digest) {
                    change(&mut blob.touch);
                }
            }
        }
    }

    pub(super) fn upload(&mut self, repository: &RepositoryName, id: &UploadId) -> Option<&mut Upload> {
        self.repositories.get_mut(repository)?.uploads.get_mut(id)
    }

    pub(super) fn end_upload(&mut self, repository: &RepositoryName, id: &UploadId) -> bool {
        let found = self.repositories.get_mut(repository);
        found.is_some_and(|repository| repository.uploads.remove(id).is_some())
    }

    /// Returns the session, if it is in the state that the caller saw and no append is running.
    pub(super) fn upload_at(
        &mut self,
        repository: &RepositoryName,
        seen: &UploadState,
    ) -> Result<&mut Upload> {
        let upload = self
            .upload(repository, &seen.id)
            .ok_or(StorageError::UploadUnknown)?;
        upload.expect(seen)?;
        Ok(upload)
    }

    pub(super) fn committable(
        &mut self,
        repository: &RepositoryName,
        seen: &UploadState,
        proof: &Verified,
    ) -> Result<Committable<'_>> {
        if self.upload(repository, &seen.id).is_none()
            && let Some(bytes) = self.blob(repository, proof.digest())
        {
            let done = info(proof.digest(), bytes);
            self.touch_blob(repository, proof.digest());
            return Ok(Committable::Done(done));
        }
        self.upload_at(repository, seen)
            .map(|upload| Committable::Session(upload))
    }

    /// Checks that all content that a manifest refers to exists. Returns the content of another size that the
    /// policy accepts.
    pub(super) fn check(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
        sizes: SizePolicy,
    ) -> Result<Vec<WrongSize>> {
        let manifests = self.repositories.get(repository).map(|found| &found.manifests);
        let mut missing = Vec::new();
        let mut wrong = Vec::new();
        for needed in needs {
            let (digest, need) = (&needed.digest, needed.need);
            let manifest = manifests
                .and_then(|all| all.get(digest))
                .map(|found| &found.bytes)
                .filter(|_| need.admits_manifest());
            let blob = self.blob(repository, digest).filter(|_| need.admits_blob());
            match blob.or(manifest).map(|bytes| bytes.len() as u64) {
                None => missing.push(*digest),
                Some(stored) => wrong.extend(needed.wrong_size(stored)),
            }
        }
        if !missing.is_empty() {
            return Err(StorageError::MissingReferences(missing));
        }
        match (sizes, wrong.first()) {
            (SizePolicy::Exact, Some(first)) => Err((*first).into()),
            _ => Ok(wrong),
        }
    }
}

/// Describes a blob of these bytes.
pub(super) fn info(digest: &Digest, bytes: &Bytes) -> BlobInfo {
    BlobInfo::new(*digest, bytes.len() as u64)
}
