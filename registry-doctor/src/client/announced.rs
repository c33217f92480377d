//! Bodies that are announced and never sent, and bodies of zeros.

use super::{Answer, Failure};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// Reaction of a server to a body that was announced and not sent.
#[derive(Debug)]
pub(crate) enum Announced {
    /// Answered before the body.
    Answer(Answer),
    /// Sent `100 Continue`, and then the answer of a server behind it.
    AnswerFromBehind(Answer),
    /// Closed the connection.
    Closed(Failure),
    /// Sent `100 Continue` and waits for the body. No server behind it has answered.
    Welcome,
    /// Sent nothing.
    Silence,
}

/// Body of a known size that never produces data.
pub(super) struct Held {
    size: u64,
}

impl Held {
    pub(super) const fn new(size: u64) -> Self {
        Self { size }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Nobody is woken: the answer is what is waited for.
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}

/// Body of zeros whose size is not announced.
pub(super) struct Repeated {
    left: u64,
}

impl Repeated {
    pub(super) const fn new(size: u64) -> Self {
        Self { left: size }
    }
}

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl Body for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(ZEROS.len());
        if piece == 0 {
            return Poll::Ready(None);
        }
        self.left -= piece as u64;
        let frame = Frame::data(Bytes::from_static(&ZEROS).slice(..piece));
        Poll::Ready(Some(Ok(frame)))
    }
}
