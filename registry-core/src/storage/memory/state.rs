//! State that all handles to a [`MemoryStorage`](super::MemoryStorage) share, with the operations that change
//! several maps at once.
//!
//! A blob and its digest in a repository change together. No other module adds or removes one of such a pair.

use super::{repository::Repository, upload::Upload};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{BlobInfo, Needed, Result, SizePolicy, StorageError, UploadState, Verified, WrongSize},
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
    /// Blobs, each stored once for all its holders. A blob without a holder is removed.
    pub(super) blobs: BTreeMap<Digest, Blob>,
    pub(super) repositories: BTreeMap<RepositoryName, Repository>,
}

pub(super) struct Blob {
    pub(super) bytes: Bytes,
    pub(super) holders: BTreeSet<RepositoryName>,
}

/// State of a session at its commit.
pub(super) enum Committable<'a> {
    /// The session exists, in the state that the caller saw.
    Session(&'a Upload),
    /// The session has ended and the blob exists: an earlier attempt succeeded.
    Done(BlobInfo),
}

impl State {
    pub(super) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<&Bytes> {
        let blob = self.blobs.get(digest)?;
        blob.holders.contains(repository).then_some(&blob.bytes)
    }

    /// Adds a blob to a repository. Existing content stays, because it has the same digest.
    pub(super) fn hold(&mut self, repository: &RepositoryName, digest: &Digest, bytes: Bytes) {
        let blob = self.blobs.entry(*digest).or_insert_with(|| Blob {
            bytes,
            holders: BTreeSet::new(),
        });
        blob.holders.insert(repository.clone());
        self.repository(repository).blobs.insert(*digest);
    }

    pub(super) fn release(&mut self, repository: &RepositoryName, digest: &Digest) -> bool {
        let Some(found) = self.repositories.get_mut(repository) else {
            return false;
        };
        if !found.blobs.remove(digest) {
            return false;
        }
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.holders.remove(repository);
            if blob.holders.is_empty() {
                self.blobs.remove(digest);
            }
        }
        true
    }

    /// Returns the repository of that name for a write, and creates it if it does not exist.
    pub(super) fn repository(&mut self, name: &RepositoryName) -> &mut Repository {
        self.repositories.entry(name.clone()).or_default()
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
            return Ok(Committable::Done(info(proof.digest(), bytes)));
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
