//! Appending to an upload session: receiving the next piece while this one is written and hashed.

use crate::{
    error::Context,
    open::{FsStorage, Store},
    uploads::Claimed,
};
use registry_core::{
    RepositoryName,
    hash::Hasher,
    storage::{Piece, Result, UploadBody, UploadState},
};
use std::{fs::File, os::unix::fs::FileExt};

/// How much is received, written and hashed at once, in bytes.
const PIECE: usize = 256 << 10;
/// How many bytes may lie beyond the last record.
const KEEP_EVERY: u64 = 16 << 20;

/// A session that is being appended to. It goes from closure to closure, and the lock with it: if the future that
/// waits for a closure is dropped, the lock is free when the closure has ended, and not before.
struct Appending {
    claimed: Claimed,
    file: File,
    hasher: Hasher,
    /// Whether the body closes the session, and so counts whole or not at all.
    closing: bool,
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
        let mut appending = self
            .blocking(move |store| {
                store.require_room(announced)?;
                let (claimed, file) = store.claim_for_append(&repository, &state)?;
                Ok(Appending {
                    claimed,
                    file,
                    hasher,
                    closing,
                })
            })
            .await?;
        let mut received = body.next(PIECE).await;
        while let Ok(Some(piece)) = received {
            let write = self.blocking(move |store| appending.write(store, &piece));
            // A failed write is told at once; only a good one waits for the next piece.
            let receive = async { Ok(body.next(PIECE).await) };
            (appending, received) = tokio::try_join!(write, receive)?;
        }
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
        if !self.closing && self.hasher.offset() - self.claimed.session.offset >= KEEP_EVERY {
            self.keep(store)?;
            store.require_room(0)?;
        }
        Ok(self)
    }

    fn write_and_hash(&mut self, piece: &Piece) -> Result<()> {
        let path = self.claimed.session.data();
        let mut at = piece.offset();
        for chunk in piece.chunks() {
            self.file.write_all_at(chunk, at).at("write", &path)?;
            at += chunk.len() as u64;
        }
        piece.hash(&mut self.hasher)
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
