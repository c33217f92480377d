//! [`Client`]: the tap's side of a client's connection.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

/// A client's connection, which two threads use: one reads requests, one writes answers.
///
/// What reads and writes pass is HTTP/1. Faults act below, on [`socket`](Self::socket).
pub(super) struct Client {
    socket: TcpStream,
}

impl Client {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket }
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Ends the answers in an orderly way, unlike a cut.
    pub(super) fn end(&self) {
        // An error means that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Read for &Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(into)
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.socket).flush()
    }
}
