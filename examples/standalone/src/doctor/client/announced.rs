//! Bodies that say how large they are and never come, and bodies of nothing.

use super::{Answer, Failure};
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// What a server said to a body that was announced and not sent.
#[derive(Debug)]
pub(in crate::doctor) enum Announced {
    /// It answered without having seen the body.
    Answer(Answer),
    /// It said `100 Continue`, and then passed on the answer of somebody behind it.
    AnswerFromBehind(Answer),
    /// It closed the connection.
    Closed(Failure),
    /// It said `100 Continue`, and waits for the body: nobody further on has said anything else.
    Welcome,
    /// It says nothing.
    Silence,
}

/// A body of a size, of which nothing ever comes.
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

/// Zeros, of a size that is not told before.
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
