//! [`Client`]: the tap's side of a client's connection.

use super::encryption::Session;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

/// A client's connection, which two threads use: one reads requests, one writes answers.
///
/// What reads and writes pass is HTTP/1. Faults act below, on [`socket`](Self::socket).
pub(super) struct Client {
    socket: TcpStream,
    session: Option<Box<dyn Session>>,
}

impl Client {
    pub(super) fn new(socket: TcpStream, session: Option<Box<dyn Session>>) -> Self {
        Self { socket, session }
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Ends the answers in an orderly way, unlike a cut.
    pub(super) fn end(&self) {
        if let Some(session) = &self.session {
            session.end(&self.socket);
        }
        // An error means that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Read for &Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &self.session {
            Some(session) => session.read(&self.socket, into),
            None => (&self.socket).read(into),
        }
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.session {
            Some(session) => session.write(&self.socket, bytes),
            None => (&self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.socket).flush()
    }
}
