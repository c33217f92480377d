//! Content that a storage returns: [`BlobInfo`], and [`BlobRead`] and [`Content`] for sending.

use super::error::{Result, StorageError};
use crate::{digest::Digest, media_type::MediaType, range::RangeSpec};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    fs::File,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

/// A blob: its digest and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobInfo {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Time at which it was stored, by the backend's clock, if known.
    pub modified: Option<SystemTime>,
}

impl BlobInfo {
    /// Describes a blob of `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            modified: None,
        }
    }

    /// Sets the time at which it was stored.
    #[must_use]
    pub fn with_modified(self, modified: Option<SystemTime>) -> Self {
        Self { modified, ..self }
    }
}

/// Stream of bytes from a storage.
pub type ContentStream = Pin<Box<dyn Body<Data = Bytes, Error = StorageError> + Send>>;

/// Bytes to send. The stream always works. The file, if any, allows a caller to use sendfile instead.
///
/// ```
/// use http_body_util::BodyExt as _;
/// use registry_core::storage::Content;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let content = Content::bytes("layer".into());
/// assert!(content.file().is_none());
/// assert_eq!(content.into_stream().collect().await?.to_bytes(), "layer");
/// # Ok(())
/// # }
/// ```
pub struct Content {
    stream: ContentStream,
    file: Option<FileRange>,
}

/// An open file and the bytes of it that make the content.
///
/// A caller that sends the file instead of the stream reports read errors to [`failed`](Self::failed). A
/// watcher of the storage sees only the errors of the stream.
///
/// ```
/// use registry_core::storage::{Content, FileRange};
/// use std::{fs::File, sync::Arc};
///
/// fn with_file(stream: Content) -> std::io::Result<Content> {
///     let file = Arc::new(File::open("blob")?);
///     let size = file.metadata()?.len();
///     let range = FileRange::new(file, 0..size).watched(|error| eprintln!("a blob is unreadable: {error}"));
///     Ok(stream.with_file(range))
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct FileRange {
    /// Open for reading; it keeps its content even if the blob is deleted.
    pub file: Arc<File>,
    /// Range of bytes, end exclusive.
    pub range: Range<u64>,
    watcher: Option<Watcher>,
}

/// Callback for read errors.
type Watcher = Arc<dyn Fn(&StorageError) + Send + Sync>;

impl FileRange {
    /// Selects `range` of an open file.
    #[must_use]
    pub const fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self {
            file,
            range,
            watcher: None,
        }
    }

    /// Adds a callback for read errors. Meant for storages that wrap others.
    #[must_use]
    pub fn watched(self, watcher: impl Fn(&StorageError) + Send + Sync + 'static) -> Self {
        let others = self.watcher;
        Self {
            watcher: Some(Arc::new(move |error| {
                watcher(error);
                if let Some(others) = &others {
                    others(error);
                }
            })),
            ..self
        }
    }

    /// Reports to the watchers that the bytes cannot be read.
    pub fn failed(&self, error: &StorageError) {
        if let Some(watcher) = &self.watcher {
            watcher(error);
        }
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRange")
            .field("file", &self.file)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Content {
    /// Creates content from a stream.
    #[must_use]
    pub const fn stream(stream: ContentStream) -> Self {
        Self { stream, file: None }
    }

    /// Creates content from bytes in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self::stream(Box::pin(Whole(bytes)))
    }

    /// Adds a file that holds the same bytes.
    #[must_use]
    pub fn with_file(self, file: FileRange) -> Self {
        Self {
            file: Some(file),
            ..self
        }
    }

    /// Returns the same bytes as an open file and a range, if the storage provides one.
    #[must_use]
    pub const fn file(&self) -> Option<&FileRange> {
        self.file.as_ref()
    }

    /// Returns the bytes as a stream.
    #[must_use]
    pub fn into_stream(self) -> ContentStream {
        self.stream
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// One frame of bytes.
struct Whole(Bytes);

impl Body for Whole {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// Options for opening a blob.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReadBlob {
    /// Part to read; `None` for the whole blob.
    pub range: Option<RangeSpec>,
    /// True if the caller can follow a redirect. Otherwise the storage must stream.
    pub allow_redirect: bool,
}

impl ReadBlob {
    /// Reads the whole blob, or only a part of it.
    #[must_use]
    pub const fn part(range: Option<RangeSpec>) -> Self {
        Self {
            range,
            allow_redirect: false,
        }
    }

    /// Allows the storage to answer with a redirect.
    #[must_use]
    pub const fn or_redirect(self) -> Self {
        Self {
            allow_redirect: true,
            ..self
        }
    }

    /// Returns the part of a blob of `size` bytes, end exclusive.
    ///
    /// ```
    /// use registry_core::{RangeSpec, storage::ReadBlob};
    ///
    /// assert_eq!(ReadBlob::default().resolve(10)?, 0..10);
    /// assert_eq!(ReadBlob::part(Some(RangeSpec::From(4))).resolve(10)?, 4..10);
    /// assert!(ReadBlob::part(Some(RangeSpec::From(10))).resolve(10).is_err());
    /// # Ok::<(), registry_core::storage::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RangeUnsatisfiable`](StorageError::RangeUnsatisfiable) if the range has none of the bytes.
    pub fn resolve(&self, size: u64) -> Result<Range<u64>> {
        match self.range {
            None => Ok(0..size),
            Some(range) => range
                .resolve(size)
                .ok_or_else(|| StorageError::range_unsatisfiable(size)),
        }
    }
}

/// A blob, open for reading.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlobRead {
    /// Digest and size of the whole blob.
    pub info: BlobInfo,
    /// Range of the blob that `body` contains, end exclusive.
    pub range: Range<u64>,
    /// The bytes, or a redirect to them.
    pub body: BlobBody,
}

impl BlobRead {
    /// Describes `body`, which contains `range` of the blob `info`.
    #[must_use]
    pub const fn new(info: BlobInfo, range: Range<u64>, body: BlobBody) -> Self {
        Self { info, range, body }
    }
}

/// Bytes of a blob, or a redirect to them.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlobBody {
    /// Bytes that the caller sends.
    Content(Content),
    /// URL from which the client fetches the same range. Only if [`ReadBlob::allow_redirect`] was set.
    Redirect(http::Uri),
}

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// Value of its `mediaType` field, or else the `Content-Type` of its push.
    pub media_type: MediaType,
    /// The document, byte for byte.
    pub bytes: Bytes,
}

impl StoredManifest {
    /// Combines a manifest with its digest and media type.
    #[must_use]
    pub const fn new(digest: Digest, media_type: MediaType, bytes: Bytes) -> Self {
        Self {
            digest,
            media_type,
            bytes,
        }
    }
}
