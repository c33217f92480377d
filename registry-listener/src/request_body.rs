//! [`RequestBody`]: the body of a request, which notices an idle client.

use super::{connection_state::ConnectionState, streams::Stream};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    error::Error,
    fmt,
    future::Future as _,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Body of a request, as the service receives it. It fails if nothing arrives for
/// [`Timeouts::body_idle`](super::Timeouts::body_idle).
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once it has been read to its end.
    body: Option<Incoming>,
    /// Over HTTP/1, until the body has ended.
    connection: Option<(Arc<ConnectionState>, u64)>,
    stream: Weak<Stream>,
    idle: Duration,
    /// Time when something last arrived, or was first awaited.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Arc<AtomicBool>,
    /// True if the client waits for `100 Continue`, which has not been sent.
    untouched: bool,
}

/// The request of a body.
#[derive(Debug)]
pub(super) struct Source {
    /// Over HTTP/1, the state that receives the rest of the body, and the number of its request.
    pub(super) connection: Option<(Arc<ConnectionState>, u64)>,
    /// Over HTTP/2, the stream that records when the body is awaited.
    pub(super) stream: Weak<Stream>,
    /// Maximum time without a byte.
    pub(super) idle: Duration,
}

impl RequestBody {
    /// Wraps a body that hyper receives. It sets `stalled` if it fails because nothing arrives. With `expects`, the
    /// client waits for `100 Continue`, which the first poll sends.
    pub(super) fn new(body: Incoming, source: Source, stalled: Arc<AtomicBool>, expects: bool) -> Self {
        Self {
            body: (!body.is_end_stream()).then_some(body),
            connection: source.connection,
            stream: source.stream,
            idle: source.idle,
            last: Instant::now(),
            timer: None,
            stalled,
            untouched: expects,
        }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| {
            self.last = Instant::now();
            Box::pin(tokio::time::sleep_until(self.last + idle))
        });
        while timer.as_mut().poll(context).is_ready() {
            let until = self.last + idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn ended(&mut self) {
        self.body = None;
        if let Some((state, number)) = self.connection.take() {
            state.body_ended(number);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.untouched = false;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(stream) = this.stream.upgrade() {
                    stream.receiving(false);
                }
                if let Some((state, number)) = &this.connection {
                    state.received_body(*number, frame.data_ref().map_or(0, Bytes::len));
                }
                if body.is_end_stream() {
                    this.ended();
                } else if this.timer.is_some() {
                    this.last = Instant::now();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // The client may still be sending, and has to receive the answer.
                if let (Some(body), Some((state, number))) = (this.body.take(), this.connection.take()) {
                    state.body_dropped(number, body, false);
                }
                Poll::Ready(Some(Err(BodyError(Reason::Broken(error)))))
            }
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Pending if this.poll_idle(context).is_ready() => {
                this.stalled.store(true, Ordering::Relaxed);
                if let (Some(body), Some((state, number))) = (this.body.take(), this.connection.take()) {
                    state.body_dropped(number, body, false);
                }
                Poll::Ready(Some(Err(BodyError(Reason::Idle))))
            }
            Poll::Pending => {
                if let Some(stream) = this.stream.upgrade() {
                    stream.receiving(true);
                }
                if let Some((state, number)) = &this.connection {
                    state.receiving(*number);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(body), Some((state, number))) = (self.body.take(), self.connection.take()) {
            state.body_dropped(number, body, !self.untouched);
        }
    }
}

/// Failure to receive the whole body of a request: the connection broke, or nothing arrived for too long.
#[derive(Debug)]
pub struct BodyError(Reason);

#[derive(Debug)]
enum Reason {
    Broken(hyper::Error),
    Idle,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Broken(_) => "the connection broke",
            Reason::Idle => "nothing arrived for too long",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Broken(error) => Some(error),
            Reason::Idle => None,
        }
    }
}
