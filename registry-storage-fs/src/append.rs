//! Appends to an upload session. The next piece is received while the last one is written and hashed.

use crate::{
    error::Context,
    pauses::Point,
    pieces::{self, write_all_at},
    store::{FsStorage, Store},
    uploads::Claimed,
    write_back::WriteBack,
};
use registry_core::{
    RepositoryName,
    hash::{Checkpoint, Hasher},
    storage::{Piece, Result, StorageError, UploadBody, UploadState},
};
use std::fs::File;

/// Maximum number of bytes received before progress is recorded and the free space is checked again.
const PAUSE_EVERY: u64 = 16 << 20;

/// A session that is being appended to. Each closure passes it, with its lock, to the next. If the future that waits
/// for a closure is dropped, the lock is released when that closure ends.
struct Appending {
    claimed: Claimed,
    file: File,
    hasher: Hasher,
    /// True if the body closes the session. It then counts only once it is committed.
    closing: bool,
    /// Offset and hash state of the session before the append.
    begun: (u64, Option<Checkpoint>),
    /// Offset at which the free space was last checked.
    paused: u64,
}

impl FsStorage {
    pub(crate) async fn append_body(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let hasher = body.take_hasher()?;
        let closing = body.closing().is_some();
        let repository = repository.clone();
        let announced = body.remaining().unwrap_or(0);
        let mut write_back = WriteBack::new(repository.clone(), state.offset);
        let mut appending = self
            .writing(move |store| {
                store.require_room(announced)?;
                let (claimed, file) = store.claim_for_append(&repository, &state)?;
                Ok(Appending::new(claimed, file, hasher, closing))
            })
            .await?;
        let mut share = self.store().receiving.begin();
        let mut received = body.next(share.piece()).await;
        while let Ok(Some(piece)) = received {
            let write = self.blocking(move |store| appending.write(store, &piece));
            // A failed write returns at once. A successful one waits for the next piece.
            let receive = async { Ok(body.next(share.piece()).await) };
            (appending, received) = tokio::try_join!(write, receive)?;
            let written = appending.hasher.offset();
            write_back
                .go_on(self, &appending.claimed, &appending.file, written)
                .await?;
        }
        write_back.end().await?;
        if closing && let Err(broken) = received {
            self.blocking(move |store| appending.undo(store)).await?;
            return Err(broken);
        }
        let (state, hasher) = self.blocking(move |store| appending.finish(store)).await?;
        body.return_hasher(hasher);
        received.map(|_| state)
    }
}

impl Appending {
    fn new(claimed: Claimed, file: File, hasher: Hasher, closing: bool) -> Self {
        Self {
            paused: claimed.session.offset,
            begun: (claimed.session.offset, claimed.session.checkpoint.clone()),
            claimed,
            file,
            hasher,
            closing,
        }
    }

    fn write(mut self, store: &Store, piece: &Piece) -> Result<Self> {
        match self.write_and_record(store, piece) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.failed(store, error)),
        }
    }

    fn write_and_record(&mut self, store: &Store, piece: &Piece) -> Result<()> {
        self.write_and_hash(piece)?;
        // The next piece may have the maximum size.
        if self.hasher.offset() - self.paused > PAUSE_EVERY - pieces::MOST as u64 {
            self.pause(store)?;
        }
        Ok(())
    }

    /// Brings the session into the state that an append leaves when it fails with `error`, and returns the error.
    fn failed(&mut self, store: &Store, error: StorageError) -> StorageError {
        let left = if self.closing || matches!(error, StorageError::Full { .. }) {
            // Kept bytes would fill the disk until the session ends.
            self.undo(store)
        } else {
            // The hasher contains all pieces that were written completely. Those are kept.
            let _ = self.file.set_len(self.hasher.offset());
            self.keep(store)
        };
        if let Err(also) = left {
            tracing::debug!(error = %also, "cannot record the state of an upload session after a failed append");
        }
        error
    }

    fn write_and_hash(&mut self, piece: &Piece) -> Result<()> {
        let path = self.claimed.session.data();
        write_all_at(&self.file, piece.chunks(), piece.offset()).at("write", &path)?;
        piece.hash(&mut self.hasher)
    }

    /// Records the received bytes, unless the body closes the session, and checks that there is space for more.
    fn pause(&mut self, store: &Store) -> Result<()> {
        self.paused = self.hasher.offset();
        if !self.closing {
            self.keep(store)?;
        }
        store.require_room(0)
    }

    /// Truncates the data to its length before the append, and then records that. The order matters: the record needs
    /// the freed space.
    fn undo(&mut self, store: &Store) -> Result<()> {
        let session = &mut self.claimed.session;
        let path = session.data();
        let (offset, checkpoint) = &self.begun;
        self.file.set_len(*offset).at("truncate", &path)?;
        if session.offset == *offset {
            return Ok(());
        }
        session.offset = *offset;
        session.base = None;
        session.checkpoint.clone_from(checkpoint);
        store.keep(session, None)
    }

    fn finish(mut self, store: &Store) -> Result<(UploadState, Hasher)> {
        if self.closing && self.hasher.offset() != self.begun.0 {
            self.claimed.session.base = Some(self.begun.0);
        }
        if let Err(error) = self.keep(store) {
            return Err(self.failed(store, error));
        }
        Ok((self.claimed.session.state(), self.hasher))
    }

    fn keep(&mut self, store: &Store) -> Result<()> {
        let session = &mut self.claimed.session;
        if self.hasher.offset() == session.offset {
            return Ok(());
        }
        session.offset = self.hasher.offset();
        session.checkpoint = self.hasher.checkpoint();
        store.pauses.reach(Point::AppendWritten);
        store.keep(session, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsOptions;
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use registry_core::{Algorithm, Digest, storage::NewUpload};
    use rustix::io::Errno;
    use std::{fs, pin::pin};

    /// Size of the pieces: the largest, so that the free space is checked after 16 MiB.
    const PIECE: usize = pieces::MOST;
    /// Number of bytes in the session before the append.
    const BEFORE: u64 = 1000;

    fn zeros(
        length: usize,
    ) -> impl http_body::Body<Data = Bytes, Error = registry_core::storage::BoxError> + Send {
        Full::new(Bytes::from(vec![0; length])).map_err(|never| match never {})
    }

    /// State of a session and its body after the disk fell below the reserve.
    struct Outcome {
        error: StorageError,
        received: u64,
        /// Number of bytes in the file.
        stored: u64,
        stands: UploadState,
    }

    /// Appends a large body: at least `roomy` bytes while there is room, the rest below the reserve.
    async fn below_the_reserve(roomy: u64, closing: Option<Digest>) -> Outcome {
        let root = tempfile::tempdir().unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let store = storage.store();
        let state = store
            .open_upload(&repository, &NewUpload::hashed_by(Algorithm::Sha256))
            .unwrap();
        let id = state.id;
        let before = pin!(zeros(1000));
        let mut body = UploadBody::new(before, &state, None);
        let state = storage.append_body(&repository, state, &mut body).await.unwrap();
        assert_eq!(state.offset, BEFORE);

        // Without a length, as a chunked body: only a check while it is received can refuse it.
        let endless = pin!(zeros(80 << 20));
        let mut body = UploadBody::new(endless, &state, closing);
        let hasher = body.take_hasher().unwrap();
        let (claimed, file) = store.claim_for_append(&repository, &state).unwrap();
        let data = claimed.session.data();
        let mut appending = Appending::new(claimed, file, hasher, closing.is_some());
        let mut received = 0;
        while received < roomy {
            let piece = body.next(PIECE).await.unwrap().unwrap();
            received += piece.len() as u64;
            appending = appending.write(store, &piece).unwrap();
        }
        drop(storage);
        let full = FsOptions::default().min_free(u64::MAX).open(root.path()).unwrap();
        loop {
            let piece = body
                .next(PIECE)
                .await
                .unwrap()
                .expect("the reserve ends it first");
            received += piece.len() as u64;
            match appending.write(full.store(), &piece) {
                Ok(on) => appending = on,
                Err(error) => {
                    return Outcome {
                        error,
                        received,
                        stored: fs::metadata(&data).unwrap().len(),
                        stands: full.store().upload(&repository, &id).unwrap().unwrap(),
                    };
                }
            }
        }
    }

    /// Asserts that the session is as before the call, with its hash: the client may continue there when there is
    /// room.
    fn assert_undone(outcome: &Outcome) {
        let Outcome {
            error,
            stored,
            stands,
            ..
        } = outcome;
        assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
        assert_eq!((*stored, stands.offset), (BEFORE, BEFORE));
        let checkpoint = stands.checkpoint.as_ref().map(Checkpoint::offset);
        assert_eq!(checkpoint, Some(BEFORE));
    }

    #[tokio::test]
    async fn a_body_that_takes_of_the_reserve_is_ended_and_gives_the_room_back() {
        let outcome = below_the_reserve(1, None).await;

        assert_undone(&outcome);
        assert_eq!(outcome.received, 16 << 20);
    }

    #[tokio::test]
    async fn also_what_was_recorded_of_it_goes() {
        assert_undone(&below_the_reserve(20 << 20, None).await);
    }

    /// The bytes fit, and the record that counts them does not.
    #[tokio::test]
    async fn an_append_whose_record_finds_no_room_gives_its_own_back() {
        let root = tempfile::tempdir().unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let new = NewUpload::hashed_by(Algorithm::Sha256);
        let opened = storage.store().open_upload(&repository, &new).unwrap();
        let session = storage.store().layout.upload(&repository, &opened.id);
        let append = async |state: UploadState| {
            let bytes = pin!(zeros(1000));
            let mut body = UploadBody::new(bytes, &state, None);
            storage.append_body(&repository, state, &mut body).await
        };
        let begun = append(opened).await.unwrap();
        // It is written before the record.
        let state = session.hash_state(Algorithm::Sha256, 2 * BEFORE);
        let full = crate::faults::fail(&state, Errno::NOSPC);

        let refused = append(begun.clone()).await;

        assert!(matches!(refused, Err(StorageError::Full { .. })), "{refused:?}");
        assert_eq!(fs::metadata(session.data()).unwrap().len(), BEFORE);
        drop(full);
        let stands = storage.store().upload(&repository, &begun.id).unwrap().unwrap();
        assert_eq!(stands.offset, BEFORE);
        assert_eq!(append(stands).await.unwrap().offset, 2 * BEFORE);
    }

    #[tokio::test]
    async fn a_closing_body_that_takes_of_the_reserve_is_ended_and_gives_the_room_back() {
        let closing = Digest::of(Algorithm::Sha256, b"never reached");

        assert_undone(&below_the_reserve(1, Some(closing)).await);
    }
}
