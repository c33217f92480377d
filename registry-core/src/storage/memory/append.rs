//! Exclusive right to append to an upload session in memory: [`Append`].

use super::state::Shared;
use crate::{
    hash::Hasher,
    name::RepositoryName,
    storage::{Result, StorageError, UploadState},
    upload_id::UploadId,
};
use bytes::Bytes;

/// Exclusive right to append to a session. Dropping it, with its future or after an error, leaves the session
/// with the bytes that were stored last.
pub(super) struct Append<'a> {
    state: &'a Shared,
    repository: &'a RepositoryName,
    id: UploadId,
}

impl<'a> Append<'a> {
    pub(super) fn begin(
        state: &'a Shared,
        repository: &'a RepositoryName,
        seen: &UploadState,
    ) -> Result<Self> {
        state.lock().upload_at(repository, seen)?.begin_append()?;
        Ok(Self {
            state,
            repository,
            id: seen.id,
        })
    }

    /// Adds bytes, offset and hash state in one step.
    pub(super) fn keep(&self, pieces: &mut Vec<Bytes>, hasher: &Hasher) -> Result<()> {
        // A cancel may have ended the session meanwhile.
        let mut state = self.state.lock();
        let upload = state.upload(self.repository, &self.id);
        upload.ok_or(StorageError::UploadUnknown)?.keep(pieces, hasher)
    }

    /// Adds the body of a closing request in one step.
    pub(super) fn keep_closing(&self, pieces: Vec<Bytes>, hasher: &Hasher) -> Result<()> {
        let mut state = self.state.lock();
        let upload = state.upload(self.repository, &self.id);
        upload
            .ok_or(StorageError::UploadUnknown)?
            .keep_closing(pieces, hasher)
    }

    /// Returns the state for the caller, with the body of a closing request.
    pub(super) fn finish(self) -> Result<UploadState> {
        let mut state = self.state.lock();
        let upload = state.upload(self.repository, &self.id);
        upload
            .map(|upload| upload.closing_state(self.id))
            .ok_or(StorageError::UploadUnknown)
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        if let Some(upload) = self.state.lock().upload(self.repository, &self.id) {
            upload.end_append();
        }
    }
}
