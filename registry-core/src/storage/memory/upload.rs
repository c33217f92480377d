//! Upload session in memory.
//!
//! The [state](super::state) has the list of sessions. This module has the changes of one session.

use crate::{
    hash::{Checkpoint, Hasher},
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
    closing: Option<Closing>,
    version: u64,
    sealed: bool,
    appending: bool,
    started: SystemTime,
    touched: SystemTime,
    opened_by: Option<Uploader>,
}

/// The body of a closing request, which counts only once it is committed.
struct Closing {
    pieces: Vec<Bytes>,
    /// Offset and hash state of the session with the body.
    offset: u64,
    checkpoint: Option<Checkpoint>,
}

impl Upload {
    /// Opens an empty session.
    pub(super) fn open(new: NewUpload) -> Self {
        let started = now();
        Self {
            pieces: Vec::new(),
            offset: 0,
            checkpoint: Some(new.checkpoint),
            closing: None,
            version: 0,
            sealed: false,
            appending: false,
            started,
            touched: started,
            opened_by: new.uploader,
        }
    }

    pub(super) fn state(&self, id: UploadId) -> UploadState {
        UploadState::new(id, self.offset, self.version())
            .with_checkpoint(self.checkpoint.clone())
            .with_started(Some(self.started))
            .with_touched(Some(self.touched))
            .with_opened_by(self.opened_by.clone())
    }

    /// Returns the state for the request that closes it: with the body of that request, if it had one.
    pub(super) fn closing_state(&self, id: UploadId) -> UploadState {
        let state = self.state(id);
        match &self.closing {
            Some(closing) => UploadState {
                offset: closing.offset,
                checkpoint: closing.checkpoint.clone(),
                ..state
            },
            None => state,
        }
    }

    /// Returns handles to the pieces that the caller saw, without copying them.
    pub(super) fn pieces(&self, seen: &UploadState) -> Vec<Bytes> {
        let closing = self.closing_seen(seen).map(|closing| &closing.pieces);
        self.pieces
            .iter()
            .chain(closing.into_iter().flatten())
            .cloned()
            .collect()
    }

    fn closing_seen(&self, seen: &UploadState) -> Option<&Closing> {
        self.closing
            .as_ref()
            .filter(|closing| closing.offset == seen.offset)
    }

    /// Checks that it is in the state that the caller saw and that no append is running.
    pub(super) fn expect(&self, seen: &UploadState) -> Result<()> {
        if self.appending || self.version() != seen.version {
            return Err(self.conflict());
        }
        Ok(())
    }

    /// Refuses further appends, because the bytes that the caller saw are about to be hashed. A session with a closing
    /// body is not sealed: it returns to its bytes before that body if the close fails.
    pub(super) fn seal(&mut self, seen: &UploadState) -> UploadState {
        if self.closing_seen(seen).is_some() {
            return self.closing_state(seen.id);
        }
        self.sealed = true;
        self.version += 1;
        self.state(seen.id)
    }

    /// Refuses other appends until [`end_append`](Self::end_append).
    pub(super) fn begin_append(&mut self) -> Result<()> {
        if self.sealed {
            return Err(self.conflict());
        }
        self.appending = true;
        if self.closing.take().is_some() {
            self.version += 1;
        }
        Ok(())
    }

    /// Allows other appends again. The session has the bytes that were stored last.
    pub(super) const fn end_append(&mut self) {
        self.appending = false;
    }

    /// Adds bytes, offset and hash state in one step.
    pub(super) fn keep(&mut self, pieces: &mut Vec<Bytes>, hasher: &Hasher) -> Result<()> {
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if self.offset + length != hasher.offset() {
            return Err(self.conflict());
        }
        if length > 0 {
            self.offset += length;
            self.pieces.append(pieces);
            self.checkpoint = hasher.checkpoint();
            self.version += 1;
            self.touched = now();
        }
        Ok(())
    }

    /// Adds the body of a closing request, which counts once it is committed.
    pub(super) fn keep_closing(&mut self, pieces: Vec<Bytes>, hasher: &Hasher) -> Result<()> {
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if self.offset + length != hasher.offset() {
            return Err(self.conflict());
        }
        if length > 0 {
            self.closing = Some(Closing {
                pieces,
                offset: hasher.offset(),
                checkpoint: hasher.checkpoint(),
            });
            self.version += 1;
            self.touched = now();
        }
        Ok(())
    }

    fn version(&self) -> Bytes {
        Bytes::copy_from_slice(&self.version.to_be_bytes())
    }

    const fn conflict(&self) -> StorageError {
        StorageError::UploadConflict { offset: self.offset }
    }
}

/// Returns the current time, the only clock of this crate. Sessions carry it, and no promise depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "this backend lives in the core, and has no files whose times it could ask for"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
