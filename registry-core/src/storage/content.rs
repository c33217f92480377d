//! What a storage gives to be sent: [`BlobRead`], [`Content`], and which part was asked for, [`RangeSpec`].

use super::{BlobInfo, error::StorageError};
use crate::{digest::Digest, media_type::MediaType};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    fs::File,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A stream of bytes out of a storage.
pub type ContentStream = Pin<Box<dyn Body<Data = Bytes, Error = StorageError> + Send>>;

/// What to send. The stream always works; the file is an offer for those who can do better (sendfile).
pub struct Content {
    stream: ContentStream,
    file: Option<FileRange>,
}

/// An open file and the bytes of it that make the content.
///
/// Whoever sends these bytes instead of the stream says so if they cannot be read ([`failed`](Self::failed)): what
/// watches the storage sees errors of the stream only.
#[derive(Clone)]
#[non_exhaustive]
pub struct FileRange {
    /// Open for reading; it keeps its content even if the blob is deleted.
    pub file: Arc<File>,
    /// Which bytes, end exclusive.
    pub range: Range<u64>,
    watcher: Option<Watcher>,
}

/// Who wants to know of errors.
type Watcher = Arc<dyn Fn(&StorageError) + Send + Sync>;

impl FileRange {
    /// `range` of an open file.
    #[must_use]
    pub const fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self {
            file,
            range,
            watcher: None,
        }
    }

    /// The same; `watcher` is told too if the bytes cannot be read. For storages that wrap others.
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

    /// The bytes cannot be read.
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
    /// Content from a stream.
    #[must_use]
    pub const fn stream(stream: ContentStream) -> Self {
        Self { stream, file: None }
    }

    /// Content that is in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self::stream(Box::pin(Whole(bytes)))
    }

    /// With the offer of a file that holds the same bytes.
    #[must_use]
    pub fn with_file(self, file: FileRange) -> Self {
        Self {
            file: Some(file),
            ..self
        }
    }

    /// The same bytes as an open file and a range, if the storage has them so.
    #[must_use]
    pub const fn file(&self) -> Option<&FileRange> {
        self.file.as_ref()
    }

    /// The bytes.
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

/// Which part of a blob is wanted, before its size is known. RFC 9110, section 14.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=5-`: from an offset to the end.
    From(u64),
    /// `bytes=5-9`: from an offset to another, inclusive.
    FromTo(u64, u64),
    /// `bytes=-5`: the last so many bytes.
    Last(u64),
}

impl RangeSpec {
    /// The bytes it means in a blob of `size` bytes, end exclusive and never empty; `None` if there are none.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..size,
            Self::FromTo(first, last) => first..size.min(last.saturating_add(1)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// How to open a blob.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReadBlob {
    /// Only this part.
    pub range: Option<RangeSpec>,
    /// The caller can follow a redirect; without it the storage must stream.
    pub allow_redirect: bool,
}

impl ReadBlob {
    /// The whole blob, or only a part of it.
    #[must_use]
    pub const fn part(range: Option<RangeSpec>) -> Self {
        Self {
            range,
            allow_redirect: false,
        }
    }

    /// For callers that can follow a redirect.
    #[must_use]
    pub const fn or_redirect(self) -> Self {
        Self {
            allow_redirect: true,
            ..self
        }
    }
}

/// A blob, open for reading.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlobRead {
    /// The blob, whole.
    pub info: BlobInfo,
    /// Which bytes of it `body` has, end exclusive.
    pub range: Range<u64>,
    /// The bytes, or where they are.
    pub body: BlobBody,
}

impl BlobRead {
    /// `range` of the blob `info`, in `body`.
    #[must_use]
    pub const fn new(info: BlobInfo, range: Range<u64>, body: BlobBody) -> Self {
        Self { info, range, body }
    }
}

/// The bytes of a blob, or where they are.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlobBody {
    /// To be sent from here.
    Content(Content),
    /// To be fetched by the client itself, with the same range. Only where [`ReadBlob::allow_redirect`] was set.
    Redirect(http::Uri),
}

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// Its own `mediaType`, else the `Content-Type` it came with.
    pub media_type: MediaType,
    /// The document, byte for byte.
    pub bytes: Bytes,
}

impl StoredManifest {
    /// A manifest with its digest and media type.
    #[must_use]
    pub const fn new(digest: Digest, media_type: MediaType, bytes: Bytes) -> Self {
        Self {
            digest,
            media_type,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_the_specification_says() {
        for (spec, size, expected) in [
            (RangeSpec::FromTo(500, 1499), 2048, Some(500..1500)),
            (RangeSpec::From(500), 2048, Some(500..2048)),
            (RangeSpec::Last(500), 2048, Some(1548..2048)),
            (RangeSpec::Last(5000), 2048, Some(0..2048)),
            (RangeSpec::FromTo(2000, 5000), 2048, Some(2000..2048)),
            (RangeSpec::FromTo(0, u64::MAX), 2048, Some(0..2048)),
            (RangeSpec::FromTo(500, 0), 2048, None),
            (RangeSpec::FromTo(5000, 10000), 2048, None),
            (RangeSpec::From(2048), 2048, None),
            (RangeSpec::Last(0), 2048, None),
            (RangeSpec::From(0), 0, None),
            (RangeSpec::Last(1), 0, None),
        ] {
            assert_eq!(spec.resolve(size), expected, "{spec:?} of {size}");
        }
    }
}
