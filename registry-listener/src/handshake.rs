//! [`Handshake`]: the step on a connection before HTTP.

use http::Extensions;
use std::{future::Future, io, net::SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// The step on a connection before HTTP: TLS, or nothing ([`Plain`]).
///
/// The [`Server`](super::Server) calls it in the task of the connection, so a slow peer does not delay others.
/// [`Timeouts::first_byte`](super::Timeouts::first_byte) limits the time of the handshake and the first byte together.
/// An implementation therefore needs no timer, and its future can be dropped at any point. `Io` is the connection of the
/// [`Listener`](super::Listener).
///
/// ```
/// use registry_listener::{Established, Handshake};
/// use std::{io, net::SocketAddr};
/// use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
///
/// /// Skips a line that a proxy sends first.
/// struct SkipLine;
///
/// impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Handshake<Io> for SkipLine {
///     type Io = Io;
///
///     async fn handshake(&self, mut io: Io, _: SocketAddr) -> io::Result<Established<Io>> {
///         while io.read_u8().await? != b'\n' {}
///         Ok(Established::new(io))
///     }
/// }
/// ```
pub trait Handshake<Io>: Send + Sync + 'static {
    /// The stream that carries HTTP.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Prepares a connection.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the time of the handshake is over, which closes the connection.
    ///
    /// # Errors
    ///
    /// An error ends the connection, and is logged at debug level. An implementation that informs the peer does so before
    /// it returns.
    fn handshake(
        &self,
        io: Io,
        peer: SocketAddr,
    ) -> impl Future<Output = io::Result<Established<Self::Io>>> + Send;
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub struct Established<Io> {
    pub(super) io: Io,
    pub(super) protocol: Option<Protocol>,
    pub(super) extensions: Extensions,
}

impl<Io> Established<Io> {
    /// Creates a connection whose first bytes determine its protocol.
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self {
            io,
            protocol: None,
            extensions: Extensions::new(),
        }
    }

    /// Sets the protocol that was negotiated (ALPN).
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self {
            protocol: Some(protocol),
            ..self
        }
    }

    /// Sets extensions for each request of the connection, such as the certificate of the peer.
    #[must_use]
    pub fn with_extensions(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }
}

/// A version of HTTP that a connection can negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// No handshake: HTTP from the first byte. HTTP/2 is used with peers that begin with its preface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Handshake<Io> for Plain {
    type Io = Io;

    async fn handshake(&self, io: Io, _: SocketAddr) -> io::Result<Established<Io>> {
        Ok(Established::new(io))
    }
}
