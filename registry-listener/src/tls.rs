//! TLS as the step before HTTP: [`Tls`] is a [`Handshake`].

use super::handshake::{Established, Handshake, Protocol};
use http::Extensions;
use registry_tls::{HandshakeError, Tls, TlsStream};
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// Adds a [`ClientCertificate`](registry_tls::ClientCertificate) to the extensions of requests, if the client has sent
/// one, for [`FromExtensions::of`](registry_core::auth::FromExtensions::of).
///
/// ```no_run
/// use registry_listener::Server;
/// use registry_tls::{Files, Options, Tls};
///
/// # use registry_core::{Registry, storage::MemoryStorage};
/// # async fn serve(registry: Registry) -> Result<(), Box<dyn std::error::Error>> {
/// # let service = registry.into_service(|task| { tokio::spawn(task); });
/// let (tls, upkeep) = Tls::from_files(Files::new("tls.crt", "tls.key"), Options::new())?;
/// tokio::spawn(upkeep.run());
///
/// let listener = tokio::net::TcpListener::bind("[::]:443").await?;
/// Server::new(service).handshake(tls).serve(listener).await;
/// # Ok(())
/// # }
/// ```
impl Handshake<TcpStream> for Tls {
    type Io = TlsStream;

    async fn handshake(&self, io: TcpStream, peer: SocketAddr) -> io::Result<Established<TlsStream>> {
        let stream = self.accept(io).await.map_err(|error| failed(error, peer))?;
        let protocol = match stream.is_http2() {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        let mut extensions = Extensions::new();
        if let Some(certificate) = stream.client_certificate() {
            extensions.insert(certificate);
        }
        Ok(Established::new(stream)
            .speaking(protocol)
            .with_extensions(extensions))
    }
}

/// Logs a failure that indicates wrong settings of the server or the client at info level. The listener logs all
/// failures at debug level.
fn failed(error: HandshakeError, peer: SocketAddr) -> io::Error {
    if !error.is_noise() {
        tracing::info!(%peer, "TLS handshake failed: {error}");
    }
    io::Error::other(error)
}
