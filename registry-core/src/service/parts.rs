//! Several parts of a blob in one response: [`PartsBody`] opens them one after another.

use super::{Repository, ResponseBody, answers::Outcome};
use crate::{
    digest::Digest,
    error::Error,
    hooks::EventKind,
    name::RepositoryName,
    protocol::{Parts, Response, Selection},
    storage::{BlobBody, Content, ContentStream, RangeSpec, ReadBlob, Storage, StorageError},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

impl Repository {
    /// Responds with several ranges of a blob, never with a redirect: few of the possible target servers
    /// support several ranges.
    pub(super) async fn answer_ranges(&self, digest: Digest, asked: &[RangeSpec]) -> Outcome {
        let unknown = || Error::BlobUnknown(digest);
        let size = self.blob_unheard(&digest).await?.ok_or_else(unknown)?.size;
        match Selection::of(asked, digest, size) {
            Selection::Nothing => Err(Error::RangeUnsatisfiable { size }),
            Selection::Whole => self.answer_content(digest, ReadBlob::default()).await,
            Selection::One(range) => self.answer_content(digest, part(&range)).await,
            Selection::Several(parts) => {
                let pull = self.begin_pull(&digest, size).await?;
                let body = PartsBody::open(self, parts.clone()).await?.ok_or_else(unknown)?;
                let bytes = parts.ranges().iter().map(|range| range.end - range.start).sum();
                pull.end(|| EventKind::BlobPulled { digest, size, bytes });
                let body = ResponseBody::begin(Content::stream(Box::pin(body))).await?;
                Ok((Response::BlobParts { parts }, body))
            }
        }
    }
}

fn part(range: &Range<u64>) -> ReadBlob {
    ReadBlob::part(Some(RangeSpec::FromTo(range.start, range.end.saturating_sub(1))))
}

/// Parts of a blob, with the delimiters between them.
///
/// Each part is opened after the previous one was sent. At any time, at most one piece is in memory and one
/// file is open. The first part is opened before the response begins.
struct PartsBody {
    storage: Arc<dyn Storage>,
    repository: RepositoryName,
    parts: Parts,
    /// Number of the part that is being opened or sent.
    number: usize,
    state: State,
    /// Number of bytes of the whole body that have not been returned yet.
    left: u64,
}

type Opening = Pin<Box<dyn Future<Output = Result<Option<Content>, StorageError>> + Send>>;

enum State {
    Opening(Opening),
    /// The part is open, and its head is sent next.
    Open(ContentStream),
    Sending {
        stream: ContentStream,
        left: u64,
    },
    Ended,
}

impl PartsBody {
    /// Opens the first part and reads its first piece. Returns `None` if the blob does not exist.
    async fn open(repository: &Repository, parts: Parts) -> Result<Option<Self>, StorageError> {
        let mut body = Self {
            storage: Arc::clone(&repository.registry.inner.storage),
            repository: repository.name.clone(),
            left: parts.length(),
            parts,
            number: 0,
            state: State::Ended,
        };
        let first = match body.opening() {
            Some(opening) => opening.await?,
            None => None,
        };
        let Some(first) = first else {
            return Ok(None);
        };
        body.state = State::Open(Box::pin(ResponseBody::begin(first).await?));
        Ok(Some(body))
    }

    /// Opens the current part. Returns `None` after the last one.
    fn opening(&self) -> Option<Opening> {
        let range = self.parts.ranges().get(self.number)?.clone();
        let (storage, repository) = (Arc::clone(&self.storage), self.repository.clone());
        let digest = *self.parts.digest();
        Some(Box::pin(async move {
            let read = storage.open_blob(&repository, &digest, part(&range)).await?;
            match read {
                None => Ok(None),
                Some(read) if read.range != range => Err(broken("has another size than before")),
                Some(read) => match read.body {
                    BlobBody::Content(content) => Ok(Some(content)),
                    BlobBody::Redirect(_) => Err(broken("is a redirect, which was not allowed")),
                },
            }
        }))
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StorageError>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(Ok(None)),
                State::Opening(mut opening) => match opening.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Opening(opening);
                        return Poll::Pending;
                    }
                    Poll::Ready(opened) => {
                        let opened = opened?.ok_or_else(|| broken("is gone"))?;
                        self.state = State::Open(opened.into_stream());
                    }
                },
                State::Open(stream) => {
                    let range = self.parts.ranges().get(self.number);
                    let left = range.map_or(0, |range| range.end - range.start);
                    self.state = State::Sending { stream, left };
                    let head = self.parts.head(self.number).unwrap_or_default();
                    return Poll::Ready(Ok(Some(head.into())));
                }
                State::Sending { mut stream, left } => {
                    let frame = stream.as_mut().poll_frame(context);
                    let Poll::Ready(frame) = frame else {
                        self.state = State::Sending { stream, left };
                        return Poll::Pending;
                    };
                    let Some(frame) = frame.transpose()? else {
                        if left > 0 {
                            return Poll::Ready(Err(broken("ended early")));
                        }
                        self.number += 1;
                        match self.opening() {
                            Some(opening) => self.state = State::Opening(opening),
                            None => return Poll::Ready(Ok(Some(self.parts.end().into()))),
                        }
                        continue;
                    };
                    let data = frame.into_data().unwrap_or_default();
                    let left = left.checked_sub(data.len() as u64);
                    let left = left.ok_or_else(|| broken("has more bytes than requested"))?;
                    self.state = State::Sending { stream, left };
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    }
}

fn broken(what: &str) -> StorageError {
    StorageError::internal(format!("while parts of a blob are sent, one of them {what}"))
}

impl Body for PartsBody {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let this = &mut *self;
        let next = ready!(this.poll_next(context));
        if let Ok(Some(bytes)) = &next {
            this.left = this.left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(next.transpose().map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
