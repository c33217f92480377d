//! A connection after its handshake.

use crate::certificate::Certificate;
use rustls::pki_types::CertificateDer;
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Stream of the data that a client sends and receives inside TLS.
pub struct TlsStream(Box<tokio_rustls::server::TlsStream<TcpStream>>);

impl TlsStream {
    pub(crate) fn new(stream: tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        Self(Box::new(stream))
    }

    /// Returns true if client and server agreed on HTTP/2; otherwise the protocol is HTTP/1.1.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// Returns the underlying TCP connection.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0
    }

    /// Returns the certificate of the client, verified against the authorities of
    /// [`Options::client_cas`](crate::Options::client_cas); `None` if it presented none.
    #[must_use]
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        let chain = self.0.get_ref().1.peer_certificates()?;
        ClientCertificate::of(chain.first()?)
    }
}

/// Identity of a client, as an authority for clients certified it.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Certificate);

impl ClientCertificate {
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        // It was verified, so it can be parsed.
        Certificate::from_der(der.clone().into_owned()).ok().map(Self)
    }

    /// Returns the common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// Returns the whole subject, such as `CN=ci, O=Example`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Returns the host names and addresses among the subject alternative names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Returns the whole certificate, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", self.tcp())
            .field("http2", &self.is_http2())
            .finish_non_exhaustive()
    }
}
