//! [`Outlet`]: the outgoing bytes of a connection, with stand-ins replaced by the bytes of their files.

use super::{super::prefixed_io::PrefixedIo, Outgoing, position, system};
use registry_core::storage::{FileRange, StorageError};
use std::{
    any::Any,
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
};

#[derive(Debug)]
pub(in super::super) struct Outlet<Io> {
    io: PrefixedIo<Io>,
    /// `None` if nothing is ever replaced.
    outgoing: Option<Arc<Outgoing>>,
    /// The read of the next bytes into memory, in progress.
    reading: Option<JoinHandle<io::Result<()>>>,
    /// True if that read is done, and is not repeated before something was sent.
    read: bool,
    /// True while partial segments wait for the bytes that follow.
    corked: bool,
}

impl<Io: Any> Outlet<Io> {
    /// Wraps a connection. With `sendfile`, the system sends files if the connection is TCP.
    pub(in super::super) fn new(io: PrefixedIo<Io>, sendfile: bool) -> Self {
        let can = sendfile && tcp(&io).is_some();
        Self {
            io,
            outgoing: can.then(Arc::default),
            reading: None,
            read: false,
            corked: false,
        }
    }

    /// Returns the files that are on their way, if the system sends files on this connection.
    pub(in super::super) const fn outgoing(&self) -> Option<&Arc<Outgoing>> {
        self.outgoing.as_ref()
    }

    /// Returns true if nothing is sent because the next bytes are being read into memory, and not because of the peer.
    pub(in super::super) const fn waits_for_disk(&self) -> bool {
        self.reading.is_some()
    }

    pub(in super::super) fn into_inner(self) -> PrefixedIo<Io> {
        self.io
    }

    /// Corks the connection from the first bytes of an answer that is a file until the last ones have been sent. A
    /// cork is a hint: a connection that does not support it works as well.
    fn cork(&mut self, corked: bool) {
        if self.corked != corked
            && let Some(stream) = tcp(&self.io)
        {
            self.corked = corked;
            system::cork(stream, corked);
        }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        outgoing: &Outgoing,
        position: usize,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let piece = outgoing.next(position, length)?;
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                read.map_err(io::Error::other)
                    .flatten()
                    .map_err(|error| failed(&piece, error))?;
                self.read = true;
            }
            let stream = tcp(&self.io).ok_or(io::ErrorKind::Unsupported)?;
            ready!(stream.poll_write_ready(context))?;
            if !self.read && !system::is_cached(&piece) {
                let piece = piece.clone();
                self.reading = Some(spawn_blocking(move || system::read_in(&piece)));
                continue;
            }
            match stream.try_io(Interest::WRITABLE, || system::send(stream, &piece)) {
                Ok(0) => {
                    let short =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than before");
                    return Poll::Ready(Err(failed(&piece, short)));
                }
                Ok(sent) => {
                    outgoing.sent(sent);
                    self.read = false;
                    if outgoing.is_complete() {
                        self.cork(false);
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) if is_of_peer(&error) => return Poll::Ready(Err(error)),
                Err(error) => return Poll::Ready(Err(failed(&piece, error))),
            }
        }
    }
}

/// Returns true if the connection failed, and not the file.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    )
}

/// Logs a failure to read a file, and returns the error that cuts the connection.
fn failed(file: &FileRange, error: io::Error) -> io::Error {
    let kind = error.kind();
    file.failed(&StorageError::io("cannot read a blob", error));
    kind.into()
}

fn tcp<Io: Any>(io: &PrefixedIo<Io>) -> Option<&TcpStream> {
    (io.get_ref() as &dyn Any).downcast_ref()
}

impl<Io: AsyncRead + Unpin> AsyncRead for Outlet<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Any + Unpin> AsyncWrite for Outlet<Io> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(outgoing) = this.outgoing.clone() else {
            return Pin::new(&mut this.io).poll_write_vectored(context, slices);
        };
        // Bytes before the stand-ins are sent first, in a call of their own.
        let mut plain = slices;
        for (number, slice) in slices.iter().enumerate() {
            if let Some(position) = position(slice) {
                this.cork(true);
                plain = slices.get(..number).unwrap_or_default();
                if plain.iter().all(|slice| slice.is_empty()) {
                    return this.poll_send(context, &outgoing, position, slice.len());
                }
                break;
            }
        }
        Pin::new(&mut this.io).poll_write_vectored(context, plain)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An abandoned body sends no more.
        if self.corked
            && self
                .outgoing
                .as_ref()
                .is_none_or(|outgoing| outgoing.is_complete())
        {
            self.cork(false);
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
