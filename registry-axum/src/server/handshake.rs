//! [`Handshake`]: what happens on a connection before HTTP is spoken on it.

use http::Extensions;
use std::{future::Future, io, net::SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// What happens on a connection before HTTP is spoken on it: TLS, or nothing ([`Plain`]).
///
/// The [`Server`](super::Server) calls it in the connection's own task, so a slow peer holds up nobody else, and gives
/// it together with the peer's first byte the time of
/// [`Timeouts::first_byte`](super::Timeouts::first_byte): an implementation needs no timer, and has to be safe to drop
/// at any point. `Io` is the listener's connection.
///
/// ```
/// use registry_axum::server::{Established, Handshake};
/// use std::{io, net::SocketAddr};
/// use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
///
/// /// Takes the one line of a proxy that says whom it speaks for.
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
    /// What HTTP is spoken over.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Prepares a connection.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection before HTTP. It is logged for debugging, no more; what the peer is to be told, the
    /// implementation says itself before it fails.
    fn handshake(
        &self,
        io: Io,
        peer: SocketAddr,
    ) -> impl Future<Output = io::Result<Established<Self::Io>>> + Send;
}

/// A connection on which HTTP can be spoken.
#[derive(Debug)]
pub struct Established<Io> {
    pub(super) io: Io,
    pub(super) protocol: Option<Protocol>,
    pub(super) extensions: Extensions,
}

impl<Io> Established<Io> {
    /// A connection whose first bytes say which protocol it speaks.
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self {
            io,
            protocol: None,
            extensions: Extensions::new(),
        }
    }

    /// The same, with the protocol that was negotiated (ALPN).
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self {
            protocol: Some(protocol),
            ..self
        }
    }

    /// The same; each of its requests carries these extensions, such as the peer's certificate.
    #[must_use]
    pub fn with_extensions(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }
}

/// A version of HTTP, as far as a connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// No handshake: HTTP from the first byte. HTTP/2 is spoken with those who begin with its preface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Handshake<Io> for Plain {
    type Io = Io;

    async fn handshake(&self, io: Io, _: SocketAddr) -> io::Result<Established<Io>> {
        Ok(Established::new(io))
    }
}
