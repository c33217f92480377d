//! The bytes of a session that are in no part.

use super::record::{Content, Piece};
use crate::{keys, nonce::nonce, store::Store};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registry_core::{
    UploadId,
    hash::Hasher,
    storage::{Result, StorageError},
};

/// Number of pieces that are read at once.
const AT_ONCE: usize = 4;

impl Store {
    /// Reads the bytes that are in no part.
    pub(super) async fn gather(&self, id: &UploadId, content: &Content) -> Result<Vec<Bytes>> {
        let pieces: Vec<_> = content
            .pieces
            .iter()
            .map(|piece| (keys::session_piece(id, &piece.name), piece.len))
            .collect();
        let read = |(key, len): (String, u64)| async move {
            match self.bucket.get(&key).await? {
                Some(found) if found.bytes.len() as u64 == len => Ok(found.bytes),
                // The session has ended meanwhile, or its objects were removed by hand.
                _ => Err(StorageError::UploadUnknown),
            }
        };
        let mut chunks: Vec<Bytes> = stream::iter(pieces)
            .map(read)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        if !content.here.is_empty() {
            chunks.push(content.here.clone());
        }
        Ok(chunks)
    }

    /// Writes bytes into a private object of the session.
    pub(super) async fn put_piece(&self, id: &UploadId, chunks: Vec<Bytes>) -> Result<Piece> {
        let piece = Piece {
            name: nonce()?,
            len: length(&chunks),
        };
        let payload: object_store::PutPayload = chunks.into_iter().collect();
        self.bucket
            .put(&keys::session_piece(id, &piece.name), payload)
            .await?;
        Ok(piece)
    }

    /// Removes private objects that the session does not need any more. What fails is removed when the session ends.
    pub(super) async fn drop_pieces(&self, id: &UploadId, pieces: &[Piece]) {
        for piece in pieces {
            let key = keys::session_piece(id, &piece.name);
            if let Err(error) = self.bucket.delete(&key).await {
                tracing::debug!(key, %error, "cannot remove bytes of an upload session that are stored elsewhere");
            }
        }
    }
}

/// Hashes bytes on a thread that may block, and copies them out of the buffers in which they came.
pub(super) async fn absorb(mut hasher: Hasher, chunks: Vec<Bytes>) -> Result<(Hasher, Bytes)> {
    tokio::task::spawn_blocking(move || {
        let mut own = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
        for chunk in chunks {
            hasher.update(&chunk);
            own.extend_from_slice(&chunk);
        }
        (hasher, own.into())
    })
    .await
    .map_err(|error| StorageError::failed("cannot hash the bytes of an upload", error))
}

/// Hashes bytes on a thread that may block.
pub(super) async fn hash(mut hasher: Hasher, chunks: Vec<Bytes>) -> Result<Hasher> {
    tokio::task::spawn_blocking(move || {
        for chunk in &chunks {
            hasher.update(chunk);
        }
        hasher
    })
    .await
    .map_err(|error| StorageError::failed("cannot hash the bytes of an upload", error))
}

pub(super) fn length(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}
