//! [`Connector`]: opens connections to registries.

use super::{
    connector::HostConnectors,
    tls::{TlsRules, Unusable},
};
use crate::{proxies::Proxies, url};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use registry_core::BoxError;
use rustls::pki_types::ServerName;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Time within which a connection is opened.
const LIMIT: Duration = Duration::from_secs(30);

/// Opens connections for the pool, by the connectors of their hosts or through proxies where there are some.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    direct: Direct,
    connectors: HostConnectors,
    proxies: Proxies,
}

impl Connector {
    pub(super) fn new(tls: Arc<TlsRules>, connectors: HostConnectors, proxies: Proxies) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self {
            direct: Direct { tcp, tls },
            connectors,
            proxies,
        }
    }

    async fn open(mut self, url: Uri) -> Result<Opened, BoxError> {
        if let Some(connector) = self.connectors.of(&url) {
            let stream = connector.connect().await?;
            return if url::is_https(&url) {
                self.direct.encrypt(&url, stream.into_inner()).await
            } else {
                Ok(Opened::new(stream))
            };
        }
        let Some(proxy) = self.proxies.of(&url) else {
            return self.direct.open(url).await;
        };
        if !url::is_https(&url) {
            let mut opened = self.direct.open(proxy.uri().clone()).await?;
            opened.proxied = true;
            return Ok(opened);
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
        if let Some(login) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(login.clone());
        }
        let tunnel = tunnel.call(url.clone()).await;
        let opened = tunnel.map_err(|error| format!("the proxy {}: {error}", url::shown(proxy.uri())))?;
        self.direct.encrypt(&url, TokioIo::new(opened)).await
    }
}

impl Service<Uri> for Connector {
    type Response = Opened;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Opened, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            match timeout(LIMIT, this.open(url)).await {
                Ok(opened) => opened,
                Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

/// Opens connections without a proxy.
#[derive(Clone, Debug)]
struct Direct {
    tcp: HttpConnector,
    tls: Arc<TlsRules>,
}

impl Direct {
    async fn open(&mut self, url: Uri) -> Result<Opened, BoxError> {
        let tcp = self.tcp.call(url.clone()).await?;
        if url::is_https(&url) {
            return self.encrypt(&url, tcp.into_inner()).await;
        }
        Ok(Opened::new(tcp))
    }

    /// Makes a TLS handshake with the host of `url`.
    async fn encrypt<S>(&self, url: &Uri, stream: S) -> Result<Opened, BoxError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let host = url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare).map_err(Unusable::new)?.to_owned();
        let authority = url::authority(url);
        let tls = Arc::clone(&self.tls);
        // The first use reads the certificates of the system.
        let config = spawn_blocking(move || tls.config(&authority)).await?;
        let config = config.map_err(Unusable::new)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Opened::new(TokioIo::new(stream)))
    }
}

impl Service<Uri> for Direct {
    type Response = Opened;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Opened, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move { this.open(url).await })
    }
}

/// Bytes in both directions.
trait Io: hyper::rt::Read + hyper::rt::Write + Send + Unpin {}

impl<T: hyper::rt::Read + hyper::rt::Write + Send + Unpin> Io for T {}

/// An open connection.
pub(super) struct Opened {
    io: Box<dyn Io>,
    /// True if a proxy reads the requests, and needs the whole URL.
    proxied: bool,
}

impl Opened {
    fn new(io: impl Io + 'static) -> Self {
        Self {
            io: Box::new(io),
            proxied: false,
        }
    }
}

impl Connection for Opened {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl hyper::rt::Read for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Opened {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}
