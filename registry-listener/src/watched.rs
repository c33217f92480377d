//! [`Watched`]: the bytes of an HTTP/1 connection, reported to its [`ConnectionState`].

use super::{connection_state::ConnectionState, sendfile::Outlet};
use bytes::BytesMut;
use std::{
    any::Any,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub(super) struct Watched<Io> {
    io: Outlet<Io>,
    /// Bytes that have arrived after a head.
    rest: BytesMut,
    /// True if bytes were written since the last flush.
    written: bool,
    state: Arc<ConnectionState>,
}

impl<Io: Any> Watched<Io> {
    pub(super) fn new(io: Outlet<Io>, state: Arc<ConnectionState>) -> Self {
        Self {
            io,
            rest: BytesMut::new(),
            written: false,
            state,
        }
    }

    pub(super) fn into_inner(self) -> Outlet<Io> {
        self.io
    }

    fn received(&self, bytes: &[u8]) -> io::Result<usize> {
        self.state
            .received(bytes)
            .ok_or_else(|| io::Error::other("the head of a request exceeds the limit"))
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(result) => {
                self.state.wrote(*result.as_ref().unwrap_or(&0));
                self.written = true;
            }
            // The disk is slow, and not the peer.
            Poll::Pending if self.io.waits_for_disk() => {}
            Poll::Pending => self.state.blocked(),
        }
        result
    }
}

impl<Io: AsyncRead + Any + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            let length = this.rest.len().min(buffer.remaining());
            let taken = this.received(this.rest.get(..length).unwrap_or_default())?;
            buffer.put_slice(&this.rest.split_to(taken));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let taken = this.received(new)?;
        this.rest.extend_from_slice(new.get(taken..).unwrap_or_default());
        buffer.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Any + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.state.replaces_answer(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if self.state.replaces_answer(first.map_or(&[], |slice| slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let result = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(context);
        match &result {
            Poll::Ready(Ok(())) => {
                self.state.flushed();
                // hyper may have read the next request already, and waits until this answer is written. If that happens
                // in a flush, hyper does not poll again by itself.
                if std::mem::take(&mut self.written) && self.state.is_busy() {
                    context.waker().wake_by_ref();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.blocked(),
        }
        result
    }

    /// Does nothing. The listener sends the last answer and closes the connection when hyper is done.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
