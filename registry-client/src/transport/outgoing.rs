//! [`Outgoing`]: the body of a request. It reports its progress, so that a long upload does not time out.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use registry_core::BoxError;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::time::Instant;

/// Time at which bytes of a request were last taken, and true once all of them are.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<(Instant, bool)>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), false))))
    }
}

impl Progress {
    pub(super) fn last(&self) -> (Instant, bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, complete: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), complete);
    }
}

/// Error of the content that is sent, and not of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

/// Body of a request.
pub(crate) struct Outgoing {
    source: Source,
    progress: Option<Progress>,
}

enum Source {
    Bytes(Option<Bytes>),
    Stream {
        stream: crate::content::ReplayBody,
        left: u64,
        /// The content goes on after its part that is sent.
        continues: bool,
    },
}

impl Outgoing {
    pub(crate) const fn empty() -> Self {
        Self {
            source: Source::Bytes(None),
            progress: None,
        }
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self {
            source: Source::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty())),
            progress: None,
        }
    }

    /// Sends `length` bytes of a stream, which ends there unless it `continues`.
    pub(crate) const fn stream(stream: crate::content::ReplayBody, length: u64, continues: bool) -> Self {
        Self {
            source: Source::Stream {
                stream,
                left: length,
                continues,
            },
            progress: None,
        }
    }

    pub(super) fn report_to(&mut self, progress: Progress) {
        progress.report(self.is_end_stream());
        self.progress = Some(progress);
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.source {
            Source::Bytes(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Source::Stream {
                left: 0,
                continues: true,
                ..
            } => None,
            Source::Stream {
                stream,
                left,
                continues,
            } => loop {
                match ready!(stream.as_mut().poll_frame(cx)) {
                    None if *left > 0 => {
                        let text = format!("the content ends {left} bytes before its size");
                        break Some(Err(Unreadable(text).into()));
                    }
                    Some(Ok(frame)) => {
                        let Ok(mut data) = frame.into_data() else { continue };
                        if *continues {
                            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                        }
                        let Some(rest) = left.checked_sub(data.len() as u64) else {
                            let text = "the content has more bytes than its size".into();
                            break Some(Err(Unreadable(text).into()));
                        };
                        *left = rest;
                        break Some(Ok(Frame::data(data)));
                    }
                    Some(Err(error)) => break Some(Err(Unreadable(error.to_string()).into())),
                    None => break None,
                }
            },
        };
        if let Some(progress) = &self.progress {
            progress.report(self.is_end_stream());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Bytes(None) | Source::Stream { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            Source::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Source::Stream { left, .. } => *left,
        })
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} bytes)", self.size_hint().lower())
    }
}
