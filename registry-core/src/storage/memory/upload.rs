//! Upload session in memory, and the exclusive right to append to it.
//!
//! The [state](super::state) has the list of sessions and their bounds. This module has the changes of one
//! session.

use super::MemoryStorage;
use crate::{
    hash::{Checkpoint, Hasher},
    name::RepositoryName,
    storage::{NewUpload, Result, StorageError, UploadState, Uploader},
    upload_id::UploadId,
};
use bytes::Bytes;
use std::time::SystemTime;

/// An upload session. An append adds bytes, offset and checkpoint in one step, so that a failed append leaves
/// nothing to truncate.
pub(super) struct Upload {
    pieces: Vec<Bytes>,
    offset: u64,
    checkpoint: Option<Checkpoint>,
    version: u64,
    sealed: bool,
    appending: bool,
    started: SystemTime,
    touched: SystemTime,
    pub(super) uploader: Option<Uploader>,
}

impl Upload {
    /// Opens an empty session.
    pub(super) fn open(new: NewUpload) -> Self {
        let started = now();
        Self {
            pieces: Vec::new(),
            offset: 0,
            checkpoint: Some(new.checkpoint),
            version: 0,
            sealed: false,
            appending: false,
            started,
            touched: started,
            uploader: new.uploader,
        }
    }

    pub(super) fn state(&self, id: UploadId) -> UploadState {
        UploadState::new(id, self.offset, self.version())
            .with_checkpoint(self.checkpoint.clone())
            .with_started(Some(self.started))
            .with_touched(Some(self.touched))
    }

    /// Returns handles to its pieces, without copying them.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.pieces.clone()
    }

    /// Checks that it is in the state that the caller saw and that no append is running.
    pub(super) fn expect(&self, seen: &UploadState) -> Result<()> {
        if self.appending || self.version() != seen.version {
            return Err(self.conflict());
        }
        Ok(())
    }

    /// Refuses further appends, because the bytes of the session are about to be hashed.
    pub(super) const fn seal(&mut self) {
        self.sealed = true;
        self.version += 1;
    }

    fn version(&self) -> Bytes {
        Bytes::copy_from_slice(&self.version.to_be_bytes())
    }

    const fn conflict(&self) -> StorageError {
        StorageError::UploadConflict { offset: self.offset }
    }
}

/// Exclusive right to append to a session. Dropping it, with its future or after an error, leaves the session
/// with the bytes that were stored last.
pub(super) struct Append<'a> {
    storage: &'a MemoryStorage,
    repository: &'a RepositoryName,
    id: UploadId,
}

impl<'a> Append<'a> {
    pub(super) fn begin(
        storage: &'a MemoryStorage,
        repository: &'a RepositoryName,
        seen: &UploadState,
    ) -> Result<Self> {
        let mut state = storage.state();
        let upload = state.upload_at(repository, seen)?;
        if upload.sealed {
            return Err(upload.conflict());
        }
        upload.appending = true;
        Ok(Self {
            storage,
            repository,
            id: seen.id,
        })
    }

    /// Adds bytes, offset and hash state in one step.
    pub(super) fn keep(&self, pieces: &mut Vec<Bytes>, hasher: &Hasher) -> Result<()> {
        let mut state = self.storage.state();
        // A cancel may have ended the session meanwhile.
        let upload = state
            .upload(self.repository, &self.id)
            .ok_or(StorageError::UploadUnknown)?;
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if upload.offset + length != hasher.offset() {
            return Err(upload.conflict());
        }
        if length > 0 {
            upload.offset += length;
            upload.pieces.append(pieces);
            upload.checkpoint = hasher.checkpoint();
            upload.version += 1;
            upload.touched = now();
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<UploadState> {
        let mut state = self.storage.state();
        let upload = state.upload(self.repository, &self.id);
        upload
            .map(|upload| upload.state(self.id))
            .ok_or(StorageError::UploadUnknown)
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        if let Some(upload) = self.storage.state().upload(self.repository, &self.id) {
            upload.appending = false;
        }
    }
}

/// Returns the current time, the only clock of this crate. Sessions carry it, and no promise depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "this backend lives in the core, and has no files whose times it could ask for"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
