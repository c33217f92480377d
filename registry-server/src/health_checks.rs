//! `health.file`, `health.http` and `health.tcp`: further checks of the server's health, as with registry:2.

use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use registry_doctor::{ServerUrl, Transport};
use registry_health::{Health, Watch};
use std::{convert::Infallible, future::Future, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};

/// Periodic health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Name in the report: the path, URL or address, as in registry:2.
    pub(crate) name: String,
    pub(crate) probe: Probe,
    pub(crate) interval: Duration,
    /// Number of consecutive failures after which the check fails.
    pub(crate) threshold: u32,
    /// Timeout of a probe; `None` for the interval.
    pub(crate) timeout: Option<Duration>,
}

/// Probe that a check makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Fails while the file exists. Operators create it to take the server out of service.
    File(PathBuf),
    /// Fails unless a HEAD request is answered with this status. Redirects are not followed.
    Http {
        target: ServerUrl,
        headers: HeaderMap,
        status: StatusCode,
    },
    /// Fails unless this host and port accept connections.
    Tcp(String, u16),
}

/// Reason for which a check fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwell {
    #[error("the file exists")]
    Exists,
    #[error("cannot determine if the file exists")]
    Unknown(#[source] io::Error),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Slow(Duration),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no TLS")]
    Tls(#[source] io::Error),
    #[error("there is no such request")]
    Request(#[source] http::Error),
    #[error("no answer")]
    Http(#[source] hyper::Error),
    #[error("the answer is {got}, not {wanted}")]
    Status { got: StatusCode, wanted: StatusCode },
}

impl Check {
    /// Adds the check to the report, and returns a future that probes periodically until it is dropped.
    pub(crate) fn join(self, health: &Health) -> impl Future<Output = Infallible> + Send + use<> {
        let watch = Watch::new(self.interval, self.threshold);
        health.register(self.name.as_str(), watch.verdict());
        let tls = self.needs_tls().then(verifying);
        let this = Arc::new(self);
        watch.run(move || {
            let (this, tls) = (Arc::clone(&this), tls.clone());
            async move { this.ask(tls).await }
        })
    }

    const fn needs_tls(&self) -> bool {
        matches!(&self.probe, Probe::Http { target, .. } if matches!(target.transport(), Transport::Tls))
    }

    async fn ask(&self, tls: Option<TlsConnector>) -> Result<(), Unwell> {
        let asked = self.probe.ask(tls);
        match self.timeout {
            None => asked.await,
            Some(limit) => timeout(limit, asked).await.unwrap_or(Err(Unwell::Slow(limit))),
        }
    }
}

impl Probe {
    async fn ask(&self, tls: Option<TlsConnector>) -> Result<(), Unwell> {
        match self {
            Self::File(path) => match tokio::fs::try_exists(path).await {
                Ok(false) => Ok(()),
                Ok(true) => Err(Unwell::Exists),
                Err(error) => Err(Unwell::Unknown(error)),
            },
            Self::Tcp(host, port) => TcpStream::connect((host.as_str(), *port))
                .await
                .map(drop)
                .map_err(Unwell::Connect),
            Self::Http {
                target,
                headers,
                status,
            } => match head(target, headers, tls).await? {
                got if got == *status => Ok(()),
                got => Err(Unwell::Status { got, wanted: *status }),
            },
        }
    }
}

async fn head(
    target: &ServerUrl,
    headers: &HeaderMap,
    tls: Option<TlsConnector>,
) -> Result<StatusCode, Unwell> {
    let mut request = Request::head(target.path())
        .header(header::HOST, target.authority())
        .body(Body::empty())
        .map_err(Unwell::Request)?;
    // In place of what is there, `Host` included.
    for name in headers.keys() {
        request.headers_mut().remove(name);
    }
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    if let Transport::Unix(path) = target.transport() {
        let connection = UnixStream::connect(path).await.map_err(Unwell::Connect)?;
        return answered(send(connection, request).await);
    }
    let connection = TcpStream::connect((target.host(), target.port()))
        .await
        .map_err(Unwell::Connect)?;
    let Some(tls) = tls else {
        return answered(send(connection, request).await);
    };
    let secured = async {
        let name = ServerName::try_from(target.host().to_owned()).map_err(io::Error::other)?;
        tls.connect(name, connection).await
    };
    answered(send(secured.await.map_err(Unwell::Tls)?, request).await)
}

fn answered(answer: hyper::Result<Response<Incoming>>) -> Result<StatusCode, Unwell> {
    answer.map(|answer| answer.status()).map_err(Unwell::Http)
}

/// Sends one request over a connection of its own.
async fn send(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Returns a TLS client that trusts the authorities of the system.
fn verifying() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has what these versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
