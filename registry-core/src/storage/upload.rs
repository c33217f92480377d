//! An upload on its way into a storage: [`UploadState`], [`UploadBody`], and the proof, [`Verified`].
//!
//! Bytes, offset and hash state are one truth. The core receives and hashes; the backend stores, and keeps
//! the checkpoint that belongs to exactly the bytes it stored.
//!
//! ```text
//! let mut hasher = body.take_hasher()?;            // owned: it may enter a blocking closure
//! while let Some(piece) = body.next(256 << 10).await? {
//!     piece.hash(&mut hasher)?;                    // where the bytes are written, off the reactor
//!     write(piece.chunks(), piece.offset());
//! }
//! keep(hasher.offset(), hasher.checkpoint());
//! body.return_hasher(hasher);                      // without it there is no proof
//! ```

use super::error::{BoxError, StorageError};
use crate::{
    digest::{Algorithm, Digest},
    hash::{Checkpoint, Hasher},
    upload_id::UploadId,
};
use bytes::Bytes;
use http_body::Body;
use std::{fmt, future::poll_fn, pin::Pin, time::SystemTime};

/// Where an upload session stands. Read once by the service, and handed back to `append` and `commit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadState {
    /// The session.
    pub id: UploadId,
    /// How many bytes it holds.
    pub offset: u64,
    /// When it was opened, by the backend's clock. For whoever looks, nothing else.
    pub started: Option<SystemTime>,
    /// When it was last added to, or else opened, by the backend's clock. For expiry, nothing else.
    pub touched: Option<SystemTime>,
    /// The hash of the first `offset` bytes. `None`: lost, or not to be trusted (another boot); the session is
    /// then hashed by [`rehash`](super::StorageWrite::rehash) when it closes.
    pub checkpoint: Option<Checkpoint>,
    /// The backend's own (a generation, an ETag): what compare-and-append compares.
    pub version: Bytes,
}

impl UploadState {
    /// A session at `offset` bytes.
    #[must_use]
    pub const fn new(id: UploadId, offset: u64, version: Bytes) -> Self {
        Self {
            id,
            offset,
            started: None,
            touched: None,
            checkpoint: None,
            version,
        }
    }

    /// With the hash of what it holds.
    #[must_use]
    pub fn with_checkpoint(self, checkpoint: Option<Checkpoint>) -> Self {
        Self { checkpoint, ..self }
    }

    /// With the time it was opened.
    #[must_use]
    pub fn with_started(self, started: Option<SystemTime>) -> Self {
        Self { started, ..self }
    }

    /// With the time it was last added to, or else opened.
    #[must_use]
    pub fn with_touched(self, touched: Option<SystemTime>) -> Self {
        Self { touched, ..self }
    }

    /// The running hash of what the session holds; one that only counts where that is lost.
    pub(crate) fn hasher(&self) -> Hasher {
        match &self.checkpoint {
            Some(checkpoint) if checkpoint.offset() == self.offset => Hasher::resume(checkpoint),
            _ => Hasher::lost(self.offset),
        }
    }
}

/// Bytes as they arrived, not yet hashed, and where they belong in the blob.
#[derive(Debug)]
pub struct Piece {
    offset: u64,
    chunks: Vec<Bytes>,
    len: usize,
}

impl Piece {
    /// The bytes, in order, as the network cut them.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Where the first byte belongs, counted from the start of the blob.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes these are. Never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Hashes these bytes. Burns CPU: call it where you write, not on the reactor.
    ///
    /// # Errors
    ///
    /// [`StorageError::Internal`] if the hasher stands elsewhere: a piece was left out or hashed twice.
    pub fn hash(&self, hasher: &mut Hasher) -> Result<(), StorageError> {
        if hasher.offset() != self.offset {
            return Err(StorageError::internal(format!(
                "a piece at {} was hashed at {}",
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

/// A request body as backends see it, whatever server received it.
pub type IncomingBody<'a> = Pin<&'a mut (dyn Body<Data = Bytes, Error = BoxError> + Send)>;

/// The body of one `PATCH`, `PUT` or `POST` on its way into an upload.
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

/// A body that is longer or shorter than its `Content-Range` announced.
#[derive(Debug, thiserror::Error)]
#[error("the chunk was announced to end at byte {announced}, and {} {at}", if .at > .announced { "goes on to" } else { "ends at" })]
struct WrongLength {
    announced: u64,
    at: u64,
}

impl<'a> UploadBody<'a> {
    /// A body that continues `state`. With `announced_end` (exclusive, counted from the start of the blob) a body
    /// that ends elsewhere is an error; with `closing` no append follows, and the blob shall have that digest.
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

    /// For test suites that drive a storage by hand: what the service does at the start of each request.
    #[cfg(feature = "contract-tests")]
    pub fn new(source: IncomingBody<'a>, state: &UploadState, closing: Option<Digest>) -> Self {
        Self::begin(source, state, None, closing)
    }

    /// The digest that the client announced, set when no append follows: the final place is known, and the body
    /// counts whole or not at all.
    #[must_use]
    pub const fn closing(&self) -> Option<&Digest> {
        self.closing.as_ref()
    }

    /// How many bytes are still to come, where that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        let here = (self.gathered_len + self.carry.len()) as u64;
        self.source.size_hint().exact().map(|there| there + here)
    }

    /// The next bytes, at most `max` of them and fewer only at the end; `None` when the body has ended well.
    ///
    /// Dropping the future loses nothing: what had arrived comes with the next call.
    ///
    /// # Errors
    ///
    /// [`StorageError::Body`] if the client's body broke off. What came before it has been handed out.
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

    /// Waits for one frame, into `carry` or `end`. Only called with an empty `carry`.
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
                // Trailers carry nothing for us.
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

    /// Lends out the running hash, once; [`return_hasher`](Self::return_hasher) gives it back.
    ///
    /// # Errors
    ///
    /// [`StorageError::Internal`] if it is lent out already.
    pub fn take_hasher(&mut self) -> Result<Hasher, StorageError> {
        self.hasher
            .take()
            .ok_or_else(|| StorageError::internal("the hasher of an upload was taken twice"))
    }

    /// Gives the running hash back. A body whose hasher is missing proves nothing.
    pub fn return_hasher(&mut self, hasher: Hasher) {
        self.hasher = Some(hasher);
    }

    /// The running hash, if the backend gave it back: what the proof is made of.
    #[must_use]
    pub(crate) fn into_hasher(self) -> Option<Hasher> {
        self.hasher
    }

    /// For test suites that drive a storage by hand: the running hash, if the backend gave it back.
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

/// The proof that bytes have a digest. Only the core's hashing makes one.
///
/// `Verified<UploadId>`: the first [`size`](Self::size) bytes of that upload. `Verified<Bytes>`: these bytes.
#[derive(Clone, Debug)]
pub struct Verified<T = UploadId> {
    subject: T,
    digest: Digest,
    size: u64,
}

impl<T> Verified<T> {
    /// What the bytes hash to.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes were hashed, from 0.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whose bytes.
    #[must_use]
    pub const fn subject(&self) -> &T {
        &self.subject
    }

    /// What was hashed, when the proof has served.
    #[must_use]
    pub fn into_subject(self) -> T {
        self.subject
    }
}

impl Verified<Bytes> {
    /// Hashes `bytes` in `algorithm`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: Bytes) -> Self {
        Self {
            digest: Digest::of(algorithm, &bytes),
            size: bytes.len() as u64,
            subject: bytes,
        }
    }
}

impl Verified<UploadId> {
    /// What `hasher` says of the upload; `None` if it only counted.
    pub(crate) fn of_upload(id: UploadId, hasher: Hasher) -> Option<Self> {
        let size = hasher.offset();
        Some(Self {
            subject: id,
            digest: hasher.digest()?,
            size,
        })
    }

    /// For test suites that drive a storage by hand: the proof, from the hasher that a body gave back.
    #[cfg(feature = "contract-tests")]
    #[must_use]
    pub fn from_hasher(id: UploadId, hasher: Hasher) -> Option<Self> {
        Self::of_upload(id, hasher)
    }
}
