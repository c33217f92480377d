//! Appending to an upload session: receiving the next piece while this one is written and hashed.

use crate::{
    error::Context,
    open::{FsStorage, Store},
    pieces::{self, write_all_at},
    uploads::Claimed,
    write_back::WriteBack,
};
use registry_core::{
    RepositoryName,
    hash::Hasher,
    storage::{Piece, Result, UploadBody, UploadState},
};
use std::fs::File;

/// After how many bytes, at most, what was received is recorded, and the room that is left looked at.
const PAUSE_EVERY: u64 = 16 << 20;

/// A session that is being appended to. It goes from closure to closure, and the lock with it: if the future that
/// waits for a closure is dropped, the lock is free when the closure has ended, and not before.
struct Appending {
    claimed: Claimed,
    file: File,
    hasher: Hasher,
    /// Whether the body closes the session, and so counts whole or not at all.
    closing: bool,
    /// Where the room that is left was last looked at.
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
            .blocking(move |store| {
                store.require_room(announced)?;
                let (claimed, file) = store.claim_for_append(&repository, &state)?;
                Ok(Appending::new(claimed, file, hasher, closing))
            })
            .await?;
        let mut share = self.store().receiving.begin();
        let mut received = body.next(share.piece()).await;
        while let Ok(Some(piece)) = received {
            let write = self.blocking(move |store| appending.write(store, &piece));
            // A failed write is told at once; only a good one waits for the next piece.
            let receive = async { Ok(body.next(share.piece()).await) };
            (appending, received) = tokio::try_join!(write, receive)?;
            let written = appending.hasher.offset();
            write_back
                .go_on(self, &appending.claimed, &appending.file, written)
                .await?;
        }
        write_back.end().await?;
        if closing && let Err(broken) = received {
            self.blocking(move |_| appending.undo()).await?;
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
            claimed,
            file,
            hasher,
            closing,
        }
    }

    fn write(mut self, store: &Store, piece: &Piece) -> Result<Self> {
        if let Err(error) = self.write_and_hash(piece) {
            if self.closing {
                let _ = self.undo();
                return Err(error);
            }
            // The hasher stands at the last piece that was written whole; that much is worth keeping. Cutting off
            // the torn one gives a full disk room for the record.
            let _ = self.file.set_len(self.hasher.offset());
            if let Err(also) = self.keep(store) {
                tracing::debug!(error = %also, "cannot record what was kept of a failed append");
            }
            return Err(error);
        }
        // The next piece may be as large as any.
        if self.hasher.offset() - self.paused > PAUSE_EVERY - pieces::MOST as u64 {
            self.pause(store)?;
        }
        Ok(self)
    }

    fn write_and_hash(&mut self, piece: &Piece) -> Result<()> {
        let path = self.claimed.session.data();
        write_all_at(&self.file, piece.chunks(), piece.offset()).at("write", &path)?;
        piece.hash(&mut self.hasher)
    }

    /// Records what has come, unless it counts only whole, and looks whether there is room for more.
    fn pause(&mut self, store: &Store) -> Result<()> {
        self.paused = self.hasher.offset();
        if !self.closing {
            self.keep(store)?;
        }
        let room = store.require_room(0);
        if room.is_err() && self.closing {
            let _ = self.undo();
        }
        room
    }

    /// Drops what was appended. No record speaks of it, so that this only gives the room back.
    fn undo(&self) -> Result<()> {
        let session = &self.claimed.session;
        let path = session.data();
        self.file.set_len(session.offset).at("cut", &path)?;
        Ok(())
    }

    fn finish(mut self, store: &Store) -> Result<(UploadState, Hasher)> {
        self.keep(store)?;
        Ok((self.claimed.session.state(), self.hasher))
    }

    fn keep(&mut self, store: &Store) -> Result<()> {
        let session = &mut self.claimed.session;
        if self.hasher.offset() == session.offset {
            return Ok(());
        }
        session.offset = self.hasher.offset();
        session.checkpoint = self.hasher.checkpoint();
        store.keep(session, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsOptions;
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use registry_core::{
        Algorithm, Digest,
        storage::{NewUpload, StorageError},
    };
    use std::{fs, path::PathBuf, pin::pin};

    /// So that the room is looked at after 16 MiB.
    const PIECE: usize = pieces::MOST;

    /// What became of a body that goes on after the disk has fallen below the reserve: which error ended it after how
    /// many bytes, how many are in the file then, and for how many its session stands.
    async fn below_the_reserve(closing: Option<Digest>) -> (StorageError, u64, u64, u64) {
        let root = tempfile::tempdir().unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let store = storage.store();
        let state = store
            .open_upload(&repository, &NewUpload::hashed_by(Algorithm::Sha256))
            .unwrap();
        let id = state.id;
        // Unannounced, as a chunked body is: only what is looked at on the way can stop it.
        let endless = pin!(Full::new(Bytes::from(vec![0; 40 << 20])).map_err(|never| match never {}));
        let mut body = UploadBody::new(endless, &state, closing);
        let hasher = body.take_hasher().unwrap();
        let (claimed, file) = store.claim_for_append(&repository, &state).unwrap();
        let data: PathBuf = claimed.session.data();
        let mut appending = Appending::new(claimed, file, hasher, closing.is_some());
        let piece = body.next(PIECE).await.unwrap().unwrap();
        appending = appending.write(store, &piece).unwrap();

        drop(storage);
        let full = FsOptions::default().min_free(u64::MAX).open(root.path()).unwrap();
        let mut received = piece.len() as u64;
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
                    let stands = full.store().upload(&repository, &id).unwrap().unwrap().offset;
                    return (error, received, fs::metadata(&data).unwrap().len(), stands);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_takes_of_the_reserve_is_ended_and_kept() {
        let (error, received, stored, stands) = below_the_reserve(None).await;

        assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
        assert_eq!((received, stored, stands), (16 << 20, 16 << 20, 16 << 20));
    }

    #[tokio::test]
    async fn a_closing_body_that_takes_of_the_reserve_is_ended_and_gives_the_room_back() {
        let closing = Digest::of(Algorithm::Sha256, b"never reached");

        let (error, received, stored, stands) = below_the_reserve(Some(closing)).await;

        assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
        assert_eq!((received, stored, stands), (16 << 20, 0, 0));
    }
}
