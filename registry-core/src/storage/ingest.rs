//! [`ingest`]: bytes from anywhere become a blob, by way of an upload session and the core's hashing.

use super::{
    BlobInfo, IncomingBody, NewUpload, StorageError, StorageWrite, UploadBody, UploadState, Verified,
};
use crate::{
    digest::{Algorithm, Digest},
    hash::Hasher,
    name::RepositoryName,
};

/// Why bytes did not become a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The bytes have another digest than expected; nothing of them is left.
    #[error("the bytes have the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What was announced.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// The storage failed, or the body broke off.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Stores the bytes of `body` as a blob of `repository`, with the digest they turn out to have, which must be
/// `expected` if that is given; else it is a sha256. For mirrors, imports and single-request pushes.
///
/// # Errors
///
/// [`IngestError`]; whatever fails, no session is left behind.
pub async fn ingest(
    storage: &dyn StorageWrite,
    repository: &RepositoryName,
    body: IncomingBody<'_>,
    expected: Option<Digest>,
) -> Result<BlobInfo, IngestError> {
    let size = body.size_hint().exact();
    let new = expected.map_or_else(
        || NewUpload::hashed_by(Algorithm::Sha256),
        |digest| NewUpload::of(digest, size),
    );
    let state = storage.open_upload(repository, new).await?;
    let id = state.id;
    let stored = async {
        let mut body = UploadBody::begin(body, &state, None, expected);
        let state = storage.append(repository, state, &mut body).await?;
        close(storage, repository, state, body.into_hasher(), expected).await
    };
    match stored.await {
        Ok(info) => Ok(info),
        Err(error) => {
            // The client never learned of this session, so nobody would resume it.
            let _ = storage.cancel(repository, &id).await;
            Err(error)
        }
    }
}

/// Proves and commits a session. `hasher` is the one that the last append gave back, if there was one.
///
/// # Errors
///
/// [`IngestError::DigestMismatch`] leaves the session as it is; ending it is the caller's.
pub(crate) async fn close(
    storage: &dyn StorageWrite,
    repository: &RepositoryName,
    state: UploadState,
    hasher: Option<Hasher>,
    expected: Option<Digest>,
) -> Result<BlobInfo, IngestError> {
    let hasher = hasher.unwrap_or_else(|| state.hasher());
    let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let (state, hasher) = if hasher.algorithm() == Some(algorithm) && hasher.offset() == state.offset {
        (state, hasher)
    } else {
        storage.rehash(repository, state, Hasher::new(algorithm)).await?
    };
    let proof = Verified::of_upload(state.id, hasher)
        .ok_or_else(|| StorageError::internal("an upload was hashed by a hasher that only counts"))?;
    match expected {
        Some(expected) if expected != *proof.digest() => Err(IngestError::DigestMismatch {
            expected,
            actual: *proof.digest(),
        }),
        _ => Ok(storage.commit(repository, state, proof).await?),
    }
}
