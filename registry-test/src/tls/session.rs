//! [`TlsSession`]: a TLS connection that one thread reads and another one writes, both blocking.

use crate::tap::{Session, lock};
use rustls::{ServerConfig, ServerConnection};
use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard},
};

/// Number of bytes received at once.
const BUFFER: usize = 16 * 1024;

/// A TLS connection.
///
/// No thread waits for the socket while it holds the state: a client may send its request without reading the answer.
/// Locks are taken in the order of the fields.
pub(super) struct TlsSession {
    /// Bytes received, and not processed yet. Only the reading thread uses them.
    received: Mutex<VecDeque<u8>>,
    /// Held while bytes are sent, so that they are sent in order.
    sending: Mutex<()>,
    state: Mutex<ServerConnection>,
}

impl TlsSession {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let state = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            received: Mutex::default(),
            sending: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// Reads content that has been received; `None` if more has to be received first.
    fn decrypt(&self, received: &mut VecDeque<u8>, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut state = lock(&self.state);
        loop {
            match state.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(Some),
            }
            if received.is_empty() {
                return Ok(None);
            }
            // There is room, because there is no content to read.
            state.read_tls(received)?;
            let processed = state.process_new_packets();
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Sends what the state has to send: content, and replies of a handshake.
    fn send(&self, _sending: &MutexGuard<'_, ()>, mut socket: &TcpStream) -> io::Result<()> {
        loop {
            let mut bytes = Vec::new();
            let mut state = lock(&self.state);
            while state.wants_write() {
                state.write_tls(&mut bytes)?;
            }
            drop(state);
            if bytes.is_empty() {
                return Ok(());
            }
            socket.write_all(&bytes)?;
        }
    }

    /// Sends replies, unless the other thread is sending: that thread calls this function afterwards, and sends them.
    fn send_replies(&self, socket: &TcpStream) -> io::Result<()> {
        while lock(&self.state).wants_write() {
            let Ok(sending) = self.sending.try_lock() else {
                return Ok(());
            };
            self.send(&sending, socket)?;
        }
        Ok(())
    }
}

impl Session for TlsSession {
    fn read(&self, mut socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let mut received = lock(&self.received);
        loop {
            let decrypted = self.decrypt(&mut received, into);
            // Also after an error: the alert tells the client the reason.
            self.send_replies(socket)?;
            if let Some(count) = decrypted? {
                return Ok(count);
            }
            let mut bytes = [0; BUFFER];
            let count = socket.read(&mut bytes)?;
            if count == 0 {
                // Many clients close the connection without an alert.
                return Ok(0);
            }
            received.extend(bytes.iter().take(count));
        }
    }

    fn write(&self, socket: &TcpStream, content: &[u8]) -> io::Result<usize> {
        let sending = lock(&self.sending);
        let count = lock(&self.state).writer().write(content)?;
        self.send(&sending, socket)?;
        drop(sending);
        self.send_replies(socket)?;
        Ok(count)
    }

    fn end(&self, socket: &TcpStream) {
        let sending = lock(&self.sending);
        lock(&self.state).send_close_notify();
        // An error means that the client has left.
        let _ = self.send(&sending, socket);
    }
}
