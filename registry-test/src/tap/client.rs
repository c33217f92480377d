//! [`Client`]: the tap's side of a client's connection.

use super::{activity::Activity, encryption::Session, patience::SILENCE};
use socket2::SockRef;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A client's connection, which two threads use: one reads requests, one writes answers.
///
/// It reads and writes the content, which is HTTP/1, with or without TLS. Faults act below, on [`socket`](Self::socket).
pub(super) struct Client {
    socket: TcpStream,
    session: Option<Box<dyn Session>>,
    activity: Activity,
    resets: AtomicBool,
}

impl Client {
    pub(super) fn new(socket: TcpStream, session: Option<Box<dyn Session>>, activity: Activity) -> Self {
        Self {
            socket,
            session,
            activity,
            resets: AtomicBool::new(false),
        }
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Ends the answers in an orderly way, unlike a cut.
    pub(super) fn end(&self) {
        if !self.resets() {
            if let Some(session) = &self.session {
                session.end(&self.socket);
            }
            // An error means that it is closed already.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Ends the answers as a cut does.
    pub(super) fn cut(&self) {
        if !self.resets() {
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Lets the connection end with a reset, once both threads have left it. Nothing else ends it from now on.
    pub(super) fn reset(&self) {
        self.resets.store(true, Ordering::SeqCst);
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        // The thread of requests may be reading. This wakes it, and sends nothing.
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Returns true if the client has ended its side, as far as that can be seen without reading what it has sent.
    pub(super) fn has_left(&self) -> bool {
        if !matches!(self.socket.take_error(), Ok(None)) {
            return true;
        }
        let _ = self.socket.set_read_timeout(Some(Duration::from_millis(1)));
        let peeked = self.socket.peek(&mut [0]);
        let _ = self.socket.set_read_timeout(Some(SILENCE));
        match peeked {
            Ok(count) => count == 0,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ),
        }
    }

    /// Returns true if the connection ends with a reset.
    pub(super) fn resets(&self) -> bool {
        self.resets.load(Ordering::SeqCst)
    }
}

impl Read for &Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.activity.read(|| match &self.session {
            Some(session) => session.read(&self.socket, into),
            None => (&self.socket).read(into),
        })
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.activity.note(match &self.session {
            Some(session) => session.write(&self.socket, bytes),
            None => (&self.socket).write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.socket).flush()
    }
}
