//! [`MeasuredBody`]: a body that counts its bytes and reports its end.

use crate::exchange::End;
use bytes::Buf as _;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

pin_project! {
    /// A body whose bytes are counted as they pass.
    pub struct MeasuredBody<B> {
        #[pin]
        body: B,
        count: Count,
    }
}

impl<B> MeasuredBody<B> {
    pub(crate) const fn new(body: B, end: End) -> Self {
        Self {
            body,
            count: Count { bytes: 0, end },
        }
    }
}

/// Counter that is dropped with the body: at its end, or because the client left.
struct Count {
    bytes: u64,
    end: End,
}

impl Drop for Count {
    fn drop(&mut self) {
        self.end.reached(self.bytes);
    }
}

impl<B: Body> Body for MeasuredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            this.count.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for MeasuredBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredBody")
            .field("body", &self.body)
            .field("bytes", &self.count.bytes)
            .finish_non_exhaustive()
    }
}
