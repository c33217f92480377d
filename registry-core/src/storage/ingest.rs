//! [`ingest`]: stores bytes as a blob, by means of an upload session and the core's hashing.

use super::{
    BlobInfo, IncomingBody, NewUpload, StorageError, StorageWrite, UploadBody, UploadState, Verified,
};
use crate::{
    digest::{Algorithm, Digest},
    hash::Hasher,
    name::RepositoryName,
};

/// Reason for which bytes were not stored as a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The digest of the bytes differs from the expected one. No byte was kept.
    #[error("the bytes have the digest {actual}, not {expected}")]
    #[non_exhaustive]
    DigestMismatch {
        /// Announced digest.
        expected: Digest,
        /// Actual digest of the bytes.
        actual: Digest,
    },
    /// The storage failed, or the body broke off.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Stores the bytes of `body` as a blob of `repository`. Meant for mirrors, imports and single-request
/// pushes.
///
/// The digest of the bytes must be `expected`, if that is given. Otherwise it is their sha256.
///
/// ```
/// use http_body_util::{BodyExt as _, Full};
/// use registry_core::{
///     RepositoryName,
///     storage::{MemoryStorage, Storage, ingest},
/// };
/// use std::pin::pin;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let write = storage.write().ok_or("the storage is read-only")?;
///
/// let body = Full::new(bytes::Bytes::from_static(b"layer")).map_err(Into::into);
/// let repository = RepositoryName::parse("mirror/app")?;
/// let blob = ingest(write, &repository, pin!(body), None).await?;
/// assert_eq!(storage.blob(&repository, &blob.digest).await?, Some(blob));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A dropped call may leave an upload session, which expires, or have stored the blob. It can be repeated with the
/// same bytes.
///
/// # Errors
///
/// [`IngestError`]. The upload session is cancelled on every failure.
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
        let (state, proof) = receive(storage, repository, state, body, expected).await?;
        Ok(storage.commit(repository, state, proof).await?)
    };
    match stored.await {
        Ok(info) => Ok(info),
        Err(error) => {
            // No client knows the id of this session, so none can resume it.
            let _ = storage.cancel(repository, &id).await;
            Err(error)
        }
    }
}

/// Appends a whole blob to an empty session, and verifies it.
///
/// # Errors
///
/// [`IngestError`]. The session is still open, and the caller has to end it.
async fn receive(
    storage: &dyn StorageWrite,
    repository: &RepositoryName,
    state: UploadState,
    body: IncomingBody<'_>,
    expected: Option<Digest>,
) -> Result<(UploadState, Verified), IngestError> {
    let mut body = UploadBody::begin(body, &state, None, expected);
    let state = storage.append(repository, state, &mut body).await?;
    verify(storage, repository, state, body.into_hasher(), expected).await
}

/// Verifies a session, so that it can be committed. `hasher` is the one that the last append returned, if any.
///
/// # Errors
///
/// [`IngestError::DigestMismatch`] leaves the session open. The caller has to end it.
pub(crate) async fn verify(
    storage: &dyn StorageWrite,
    repository: &RepositoryName,
    state: UploadState,
    hasher: Option<Hasher>,
    expected: Option<Digest>,
) -> Result<(UploadState, Verified), IngestError> {
    let hasher = hasher.unwrap_or_else(|| state.hasher());
    let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let (state, hasher) = if hasher.algorithm() == Some(algorithm) && hasher.offset() == state.offset {
        (state, hasher)
    } else {
        storage.rehash(repository, state, Hasher::new(algorithm)).await?
    };
    let proof = Verified::of_upload(state.id, hasher)
        .ok_or_else(|| StorageError::internal("the hasher of an upload has no state"))?;
    match expected {
        Some(expected) if expected != *proof.digest() => Err(IngestError::DigestMismatch {
            expected,
            actual: *proof.digest(),
        }),
        _ => Ok((state, proof)),
    }
}
