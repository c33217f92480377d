//! Bodies: [`ResponseBody`], a stream that a file may replace, and the adapters that read a request's body.

use super::{
    FileSender,
    asked::Asked,
    documents::{Documents, Share},
};
use crate::{
    error::Error,
    storage::{BoxError, Content, ContentStream, FileRange, IncomingBody, StorageError, Uploader},
};
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

/// Body of a response.
///
/// The body is always a stream. If [`file`](Self::file) is `Some`, a listener may send that file's range
/// instead and drop the body unread.
pub struct ResponseBody {
    kind: Kind,
    file: Option<FileRange>,
    /// Request for the log, if reading the body can still fail.
    asked: Option<Asked>,
}

enum Kind {
    Full(Bytes),
    Stream {
        /// First frame, which has been read already.
        first: Option<Frame<Bytes>>,
        rest: ContentStream,
    },
}

impl ResponseBody {
    /// Creates an empty body.
    #[must_use]
    pub const fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Creates a body of these bytes.
    #[must_use]
    pub const fn full(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Full(bytes),
            file: None,
            asked: None,
        }
    }

    /// Counts the body against a budget until it is sent or dropped, if it is in memory as a whole.
    pub(super) fn held(self, by: &Documents, client: Option<Uploader>) -> Result<Self, Error> {
        match self.kind {
            Kind::Full(bytes) => by.hold(bytes, client).map(Self::full),
            Kind::Stream { .. } => Ok(self),
        }
    }

    /// Reads the first frame of the content, so that a failure can still be reported by the status of the
    /// response.
    pub(super) async fn begin(content: Content) -> Result<Self, StorageError> {
        let file = content.file().cloned();
        let mut rest = content.into_stream();
        let first = if rest.is_end_stream() {
            None
        } else {
            poll_fn(|context| rest.as_mut().poll_frame(context))
                .await
                .transpose()?
        };
        Ok(Self {
            kind: Kind::Stream { first, rest },
            file,
            asked: None,
        })
    }

    /// Adds the request, which the log names if the body breaks off.
    pub(super) fn asked(self, asked: impl FnOnce() -> Asked) -> Self {
        match self.kind {
            Kind::Full(_) => self,
            Kind::Stream { .. } => {
                let asked = asked();
                let watching = asked.clone();
                Self {
                    file: self
                        .file
                        .map(|file| file.watched(move |error| watching.broke_off(error))),
                    asked: Some(asked),
                    ..self
                }
            }
        }
    }

    /// Replaces a file by the frames of a listener that sends it by itself, if the listener accepts this file.
    pub(super) fn sent_by(self, sender: &FileSender) -> Self {
        match self.file.as_ref().and_then(|file| sender.frames(file)) {
            Some(rest) => Self {
                kind: Kind::Stream { first: None, rest },
                file: None,
                asked: self.asked,
            },
            None => self,
        }
    }

    /// Returns the same bytes as an open file and a range, if the storage provides one.
    #[must_use]
    pub const fn file(&self) -> Option<&FileRange> {
        self.file.as_ref()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        match &mut self.kind {
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Stream { first, rest } => {
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(Ok(first)));
                }
                let frame = rest.as_mut().poll_frame(context);
                if let (Poll::Ready(Some(Err(error))), Some(asked)) = (&frame, &self.asked) {
                    asked.broke_off(error);
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream { first, rest } => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream { first, rest } => {
                let read = first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
                with_more(&rest.size_hint(), read)
            }
        }
    }
}

/// Returns the size hint for `read` bytes followed by a body with the hint `rest`.
pub(super) fn with_more(rest: &SizeHint, read: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper.saturating_add(read));
    }
    hint.set_lower(rest.lower().saturating_add(read));
    hint
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("size", &self.size_hint())
            .field("file", &self.file)
            .finish()
    }
}

/// Converts any body into the one type that backends receive, without copying `Bytes`.
pub(super) struct Erased<B>(pub(super) Pin<Box<B>>);

impl<B> Body for Erased<B>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(context).map(|frame| {
            frame.map(|frame| {
                frame
                    .map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    .map_err(Into::into)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Body that fails if it has more than a maximum number of bytes.
pub(super) struct Capped<'a> {
    body: IncomingBody<'a>,
    left: Option<u64>,
}

/// Error of a body with too many bytes.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than a blob may be")]
pub(super) struct TooLarge;

impl<'a> Capped<'a> {
    /// Limits a body to `left` bytes. `None` sets no limit.
    pub(super) const fn new(body: IncomingBody<'a>, left: Option<u64>) -> Self {
        Self { body, left }
    }
}

impl Body for Capped<'_> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.body.as_mut().poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&frame, &mut self.left)
            && let Some(data) = frame.data_ref()
        {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(TooLarge.into()))),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns the whole body, if it has at most `limit` bytes, announced or not, and `share` has memory for it.
pub(super) async fn collect(
    mut body: IncomingBody<'_>,
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, Error> {
    let too_large = Error::ManifestTooLarge { limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(data) = frame.map_err(Error::Body)?.into_data() else {
            continue;
        };
        let there = first.len() + whole.len() + data.len();
        if there > limit {
            return Err(too_large);
        }
        share.grow_to(there)?;
        // Most documents arrive in one frame, which is not copied.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
