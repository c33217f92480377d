//! [`Repeatable`]: a request's body that can be read again, if only a little of it was read.

use super::body::with_more;
use crate::storage::{BoxError, IncomingBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Number of bytes that are kept.
const KEPT: usize = 256 << 10;

/// Number of chunks that are kept. A client may send each byte as a chunk.
const CHUNKS: usize = 1 << 10;

/// Body whose first bytes are kept until more are read.
pub(super) struct Repeatable<'a> {
    body: IncomingBody<'a>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Number of kept chunks that were read this time.
    read: usize,
    /// True until something was read that is not kept.
    is_whole: bool,
    has_ended: bool,
}

impl<'a> Repeatable<'a> {
    pub(super) const fn new(body: IncomingBody<'a>) -> Self {
        Self {
            body,
            kept: Vec::new(),
            kept_bytes: 0,
            read: 0,
            is_whole: true,
            has_ended: false,
        }
    }

    /// Returns to the begin of the body. Returns false if too much of it was read.
    pub(super) const fn repeat(&mut self) -> bool {
        self.read = 0;
        self.is_whole
    }

    fn keep(&mut self, data: Option<&Bytes>) {
        let bytes = self.kept_bytes.saturating_add(data.map_or(0, Bytes::len));
        self.is_whole &= data.is_some() && bytes <= KEPT && self.kept.len() < CHUNKS;
        match data {
            Some(data) if self.is_whole => {
                self.kept.push(data.clone());
                self.kept_bytes = bytes;
            }
            _ => {
                self.kept.clear();
                self.kept_bytes = 0;
            }
        }
        self.read = self.kept.len();
    }
}

impl Body for Repeatable<'_> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(data) = self.kept.get(self.read) {
            let data = data.clone();
            self.read += 1;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = self.body.as_mut().poll_frame(context);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(None) => self.has_ended = true,
            // Trailers are ignored by all readers.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {}
            Poll::Ready(Some(Ok(frame))) => self.keep(frame.data_ref()),
            Poll::Ready(Some(Err(_))) => self.keep(None),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.read == self.kept.len() && (self.has_ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.kept.iter().skip(self.read).map(Bytes::len).sum::<usize>();
        with_more(&self.body.size_hint(), kept as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::{collections::VecDeque, pin::pin};

    /// Body of these chunks.
    struct Chunks(VecDeque<Result<Vec<u8>, BoxError>>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let chunk = self.0.pop_front();
            Poll::Ready(chunk.map(|chunk| chunk.map(|data| Frame::data(data.into()))))
        }
    }

    /// Reads the first chunks of a body, and then all from the begin.
    async fn read_again(chunks: Vec<Result<Vec<u8>, BoxError>>, read: usize) -> Option<Vec<u8>> {
        let mut source = pin!(Chunks(chunks.into()));
        let mut body = pin!(Repeatable::new(source.as_mut()));
        for _ in 0..read {
            let _ = body.as_mut().frame().await;
        }
        if !body.repeat() {
            return None;
        }
        Some(body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_body_of_which_little_was_read_is_read_again() {
        for read in 0..4 {
            let chunks = vec![Ok(b"ab".to_vec()), Ok(vec![]), Ok(b"c".to_vec())];
            assert_eq!(read_again(chunks, read).await.unwrap(), b"abc", "{read}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_kept_is_not_read_again() {
        let half = || Ok(vec![0; KEPT / 2]);
        assert!(read_again(vec![half(), half(), half()], 2).await.is_some());
        assert!(read_again(vec![half(), half(), half()], 3).await.is_none());
        let short = |chunks| (0..chunks).map(|_| Ok(vec![0])).collect();
        assert!(read_again(short(CHUNKS), CHUNKS).await.is_some());
        assert!(read_again(short(CHUNKS + 1), CHUNKS + 1).await.is_none());
        let broken = vec![half(), Err("it broke off".into()), half()];
        assert!(read_again(broken, 2).await.is_none());
    }
}
