//! [`Encryption`]: a layer below HTTP on the client's side of a tap.

use std::{io, net::TcpStream};

/// Encrypts the connections of clients.
pub(crate) trait Encryption: Send + Sync {
    /// Begins a connection; nothing has been received yet.
    ///
    /// # Errors
    ///
    /// An error of the settings.
    fn begin(&self) -> io::Result<Box<dyn Session>>;
}

/// The encryption of one connection. One thread reads and another one writes; neither waits for the other's socket.
pub(crate) trait Session: Send + Sync {
    /// Reads at least one byte of content; none at the end.
    fn read(&self, socket: &TcpStream, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the content, at least one byte.
    fn write(&self, socket: &TcpStream, content: &[u8]) -> io::Result<usize>;

    /// Tells the client that no more content follows, which a cut connection does not.
    fn end(&self, socket: &TcpStream);
}
