//! Uploads into a storage: [`UploadState`], [`UploadBody`], and the proof of a digest, [`Verified`].
//!
//! Bytes, offset and hash state change together. The core receives and hashes the bytes. The backend stores
//! them, with the checkpoint that belongs to exactly the stored bytes.
//!
//! [`UploadBody`] has an example. The hasher is an owned value, so that it can enter a closure that may block. Without it
//! there is no proof.

use super::{error::StorageError, new_upload::Uploader};
use crate::{
    digest::{Algorithm, Digest},
    error::BoxError,
    hash::{Checkpoint, Hasher},
    upload_id::UploadId,
};
use bytes::Bytes;
use http_body::Body;
use std::{fmt, future::poll_fn, pin::Pin, time::SystemTime};

/// State of an upload session. The service reads it once and passes it to `append` and `commit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadState {
    /// Id of the session.
    pub id: UploadId,
    /// Number of bytes in the session.
    pub offset: u64,
    /// Time at which it was opened, by the backend's clock. For display only.
    pub started: Option<SystemTime>,
    /// Time of the last append, or else of the opening, by the backend's clock. For expiry only.
    pub touched: Option<SystemTime>,
    /// Hash state of the first `offset` bytes. `None` if it is lost or not trusted (after a reboot). The
    /// session is then hashed by [`rehash`](super::StorageWrite::rehash) when it is closed.
    pub checkpoint: Option<Checkpoint>,
    /// Digest as which a commit of the session has begun to publish it, if it has. A collector keeps that blob.
    pub committing: Option<Digest>,
    /// Blob that its bytes have already become, if a commit has failed after that. No chunk may follow; the same commit
    /// can be repeated.
    pub published: Option<Digest>,
    /// Uploader that opened it. `None` if it is not known.
    pub opened_by: Option<Uploader>,
    /// Version that the backend assigns (a generation, an ETag). An append succeeds only if it is unchanged.
    pub version: Bytes,
}

impl UploadState {
    /// Describes a session of `offset` bytes.
    #[must_use]
    pub const fn new(id: UploadId, offset: u64, version: Bytes) -> Self {
        Self {
            id,
            offset,
            started: None,
            touched: None,
            checkpoint: None,
            committing: None,
            published: None,
            opened_by: None,
            version,
        }
    }

    /// Sets the hash state of its bytes.
    #[must_use]
    pub fn with_checkpoint(self, checkpoint: Option<Checkpoint>) -> Self {
        Self { checkpoint, ..self }
    }

    /// Sets the digest as which a commit has begun to publish it.
    #[must_use]
    pub fn with_committing(self, committing: Option<Digest>) -> Self {
        Self { committing, ..self }
    }

    /// Sets the blob that its bytes have already become.
    #[must_use]
    pub fn with_published(self, published: Option<Digest>) -> Self {
        Self { published, ..self }
    }

    /// Sets the time at which it was opened.
    #[must_use]
    pub fn with_started(self, started: Option<SystemTime>) -> Self {
        Self { started, ..self }
    }

    /// Sets the time of the last append, or else of the opening.
    #[must_use]
    pub fn with_touched(self, touched: Option<SystemTime>) -> Self {
        Self { touched, ..self }
    }

    /// Sets the uploader that opened it.
    #[must_use]
    pub fn with_opened_by(self, opened_by: Option<Uploader>) -> Self {
        Self { opened_by, ..self }
    }

    /// Returns the running hash of the session's bytes. If it is lost, the returned hasher only counts bytes.
    pub(crate) fn hasher(&self) -> Hasher {
        match &self.checkpoint {
            Some(checkpoint) if checkpoint.offset() == self.offset => Hasher::resume(checkpoint),
            _ => Hasher::lost(self.offset),
        }
    }
}

/// Received bytes that are not hashed yet, with their offset in the blob.
#[derive(Debug)]
pub struct Piece {
    offset: u64,
    chunks: Vec<Bytes>,
    len: usize,
}

impl Piece {
    /// Returns the bytes in order, in the chunks in which they arrived.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Returns the offset of the first byte, counted from the start of the blob.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes, which is never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Hashes these bytes. Call it on the thread that writes, not on the reactor, because it needs much CPU
    /// time.
    ///
    /// # Errors
    ///
    /// [`StorageError::Internal`] if the hasher is at another offset: a piece was omitted or hashed twice.
    pub fn hash(&self, hasher: &mut Hasher) -> Result<(), StorageError> {
        if hasher.offset() != self.offset {
            return Err(StorageError::internal(format!(
                "a piece at offset {} was hashed at offset {}",
                self.offset,
                hasher.offset()
            )));
        }
        for chunk in &self.chunks {
            hasher.update(chunk);
        }
        Ok(())
    }
}

/// Request body as a backend receives it, independent of the server.
pub type IncomingBody<'a> = Pin<&'a mut (dyn Body<Data = Bytes, Error = BoxError> + Send)>;

/// Body of one `PATCH`, `PUT` or `POST` request of an upload.
///
/// ```
/// use registry_core::storage::{StorageError, UploadBody};
/// use std::io::Write;
///
/// /// Appends a body to the file of a session, and returns its new size.
/// async fn append(body: &mut UploadBody<'_>, file: &mut dyn Write) -> Result<u64, StorageError> {
///     let mut hasher = body.take_hasher()?;
///     while let Some(piece) = body.next(256 << 10).await? {
///         piece.hash(&mut hasher)?;
///         for chunk in piece.chunks() {
///             file.write_all(chunk).map_err(|error| StorageError::io("cannot write an upload", error))?;
///         }
///     }
///     let size = hasher.offset();
///     body.return_hasher(hasher);
///     Ok(size)
/// }
/// ```
pub struct UploadBody<'a> {
    source: IncomingBody<'a>,
    offset: u64,
    announced_end: Option<u64>,
    closing: Option<Digest>,
    hasher: Option<Hasher>,
    gathered: Vec<Bytes>,
    gathered_len: usize,
    carry: Bytes,
    end: Option<Result<(), BoxError>>,
}

/// Error for a body that is longer or shorter than its `Content-Range` announced.
#[derive(Debug, thiserror::Error)]
#[error("the chunk was announced to end at byte {announced}, but {} byte {at}", if .at > .announced { "continues to" } else { "ends at" })]
struct WrongLength {
    announced: u64,
    at: u64,
}

impl<'a> UploadBody<'a> {
    /// Starts a body that continues `state`.
    ///
    /// `announced_end` is exclusive and counted from the start of the blob: a body that ends elsewhere is an
    /// error. With `closing`, no append follows, and the blob is expected to have that digest.
    pub(crate) fn begin(
        source: IncomingBody<'a>,
        state: &UploadState,
        announced_end: Option<u64>,
        closing: Option<Digest>,
    ) -> Self {
        Self {
            source,
            offset: state.offset,
            announced_end,
            closing,
            hasher: Some(state.hasher()),
            gathered: Vec::new(),
            gathered_len: 0,
            carry: Bytes::new(),
            end: None,
        }
    }

    /// Starts a body as the service does for each request. Meant for test suites that drive a storage
    /// directly.
    #[cfg(feature = "contract-tests")]
    pub fn new(source: IncomingBody<'a>, state: &UploadState, closing: Option<Digest>) -> Self {
        Self::begin(source, state, None, closing)
    }

    /// Returns the digest that the client announced, if no append follows. The final digest is then known,
    /// and the body is stored as a whole or not at all.
    #[must_use]
    pub const fn closing(&self) -> Option<&Digest> {
        self.closing.as_ref()
    }

    /// Returns the number of bytes still to come, if known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        let here = (self.gathered_len + self.carry.len()) as u64;
        self.source.size_hint().exact().map(|there| there + here)
    }

    /// Returns the next `max` bytes, or fewer at the end. Returns `None` after the end of a complete body.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call loses no bytes. The next call returns them.
    ///
    /// # Errors
    ///
    /// [`StorageError::Body`] if the client's body broke off. All bytes before that have been returned.
    pub async fn next(&mut self, max: usize) -> Result<Option<Piece>, StorageError> {
        while self.gathered_len < max && self.end.is_none() {
            if self.carry.is_empty() {
                self.receive().await;
            }
            let take = self.carry.len().min(max - self.gathered_len);
            if take > 0 {
                self.gathered_len += take;
                self.gathered.push(self.carry.split_to(take));
            }
        }
        if self.gathered_len > 0 {
            let piece = Piece {
                offset: self.offset,
                chunks: std::mem::take(&mut self.gathered),
                len: std::mem::take(&mut self.gathered_len),
            };
            self.offset += piece.len as u64;
            return Ok(Some(piece));
        }
        match self.end.replace(Ok(())) {
            Some(Err(source)) => Err(StorageError::Body(source)),
            _ => Ok(None),
        }
    }

    /// Waits for one frame and puts it into `carry` or `end`. Called only if `carry` is empty.
    async fn receive(&mut self) {
        let frame = poll_fn(|context| self.source.as_mut().poll_frame(context)).await;
        let received = self.offset + self.gathered_len as u64;
        match frame {
            None => {
                self.end = Some(match self.announced_end {
                    Some(announced) if announced != received => Err(WrongLength {
                        announced,
                        at: received,
                    }
                    .into()),
                    _ => Ok(()),
                });
            }
            Some(Err(error)) => self.end = Some(Err(error)),
            Some(Ok(frame)) => {
                // Trailers are ignored.
                let data = frame.into_data().unwrap_or_default();
                let at = received + data.len() as u64;
                match self.announced_end {
                    Some(announced) if at > announced => {
                        self.end = Some(Err(WrongLength { announced, at }.into()));
                    }
                    _ => self.carry = data,
                }
            }
        }
    }

    /// Takes the running hash out, once. Give it back with [`return_hasher`](Self::return_hasher).
    ///
    /// # Errors
    ///
    /// [`StorageError::Internal`] if it was taken and not given back.
    pub fn take_hasher(&mut self) -> Result<Hasher, StorageError> {
        self.hasher
            .take()
            .ok_or_else(|| StorageError::internal("the hasher of an upload was taken twice"))
    }

    /// Gives the running hash back. Without it there is no proof of the digest.
    pub fn return_hasher(&mut self, hasher: Hasher) {
        self.hasher = Some(hasher);
    }

    /// Returns the running hash for the proof, if the backend gave it back.
    #[must_use]
    pub(crate) fn into_hasher(self) -> Option<Hasher> {
        self.hasher
    }

    /// Returns the running hash, if the backend gave it back. Meant for test suites that drive a storage
    /// directly.
    #[cfg(feature = "contract-tests")]
    #[must_use]
    pub fn finish(self) -> Option<Hasher> {
        self.into_hasher()
    }
}

impl fmt::Debug for UploadBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody")
            .field("offset", &self.offset)
            .field("announced_end", &self.announced_end)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

/// Proof that bytes have a digest. Only the core's hashing creates one.
///
/// `Verified<UploadId>` is about the first [`size`](Self::size) bytes of that upload, `Verified<Bytes>` about
/// these bytes.
///
/// ```
/// use registry_core::{Algorithm, Digest, storage::Verified};
///
/// let proof = Verified::of(Algorithm::Sha512, "{}".into());
/// assert_eq!(*proof.digest(), Digest::of(Algorithm::Sha512, b"{}"));
/// assert_eq!((proof.size(), proof.into_bytes()), (2, "{}".into()));
/// ```
#[derive(Clone, Debug)]
pub struct Verified<T = UploadId> {
    proven: T,
    digest: Digest,
    size: u64,
}

impl<T> Verified<T> {
    /// Returns the digest of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the number of hashed bytes, from offset 0.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Verified<Bytes> {
    /// Hashes `bytes` with `algorithm`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: Bytes) -> Self {
        Self {
            digest: Digest::of(algorithm, &bytes),
            size: bytes.len() as u64,
            proven: bytes,
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.proven
    }

    /// Converts the proof into the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.proven
    }
}

impl Verified<UploadId> {
    /// Returns the id of the upload.
    #[must_use]
    pub const fn upload(&self) -> &UploadId {
        &self.proven
    }

    /// Finishes `hasher` for the upload. Returns `None` if the hasher only counted bytes.
    pub(crate) fn of_upload(id: UploadId, hasher: Hasher) -> Option<Self> {
        let size = hasher.offset();
        Some(Self {
            proven: id,
            digest: hasher.digest()?,
            size,
        })
    }

    /// Creates the proof from the hasher that a body returned. Meant for test suites that drive a storage
    /// directly.
    #[cfg(feature = "contract-tests")]
    #[must_use]
    pub fn from_hasher(id: UploadId, hasher: Hasher) -> Option<Self> {
        Self::of_upload(id, hasher)
    }
}
