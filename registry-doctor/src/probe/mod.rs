//! [`Probe`]: asks a server whether it is alive, for a container's `HEALTHCHECK`.
//!
//! It sends no credentials and relies only on a status, so it accepts every certificate: few certificates are valid for
//! loopback. It does not test if clients trust the certificate.

mod exchange;
mod url;

pub use self::url::{InvalidServerUrl, ServerUrl, Transport};

use self::exchange::send;
use super::any_certificate;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use std::{error::Error, fmt, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::rustls::AlertDescription;

/// Timeout after which a server is not alive. Container engines wait for 30 seconds by default.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of bytes read of a server's error.
const REPORT: usize = 4096;

/// Request that finds out if a server is alive.
///
/// ```no_run
/// use registry_doctor::{Probe, ServerUrl};
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let url = ServerUrl::parse("http://127.0.0.1:5000", "/v2/")?;
/// println!("alive: {}", Probe::new(url).ask().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    url: ServerUrl,
    accepts_forbidden: bool,
}

/// Answer of a server that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alive {
    /// It answered with this status: a success, or the question for a login.
    #[non_exhaustive]
    Answered {
        /// Number and reason, such as `200 OK`.
        status: String,
    },
    /// It requires a certificate of its clients, which a probe does not have.
    RequiresCertificate,
    /// It refuses this machine's network; see [`Probe::accept_forbidden`].
    RefusesNetwork,
}

/// Reason for which a server is not alive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAlive {
    /// No connection could be opened.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("no TLS")]
    Tls(#[source] io::Error),
    /// The answer is not HTTP, or is incomplete.
    #[error(transparent)]
    Exchange(Box<dyn Error + Send + Sync>),
    /// The server answered that it is not well.
    #[error("{}", format!("{status} {report}").trim_end())]
    #[non_exhaustive]
    Status {
        /// Number and reason, such as `503 Service Unavailable`.
        status: String,
        /// Start of the body, on one line.
        report: String,
    },
    /// The server did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

impl Probe {
    /// Prepares a request to a server.
    #[must_use]
    pub const fn new(url: ServerUrl) -> Self {
        Self {
            url,
            accepts_forbidden: false,
        }
    }

    /// Counts a 403 as an answer of a living server: one that only some networks may use, which may not include this
    /// machine.
    #[must_use]
    pub const fn accept_forbidden(mut self) -> Self {
        self.accepts_forbidden = true;
        self
    }

    /// Sends the request, on the tokio runtime of the caller, and waits for the answer for at most 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`NotAlive`] with the reason.
    pub async fn ask(&self) -> Result<Alive, NotAlive> {
        timeout(PATIENCE, self.answer())
            .await
            .unwrap_or(Err(NotAlive::Silent(PATIENCE)))
    }

    async fn answer(&self) -> Result<Alive, NotAlive> {
        let (host, port) = (self.url.host(), self.url.port());
        let connect = async || TcpStream::connect((host, port)).await.map_err(NotAlive::Connect);
        match self.url.transport() {
            Transport::Unix(path) => {
                let connection = UnixStream::connect(path).await.map_err(NotAlive::Connect)?;
                self.get(connection).await
            }
            Transport::Plain => self.get(connect().await?).await,
            Transport::Tls => {
                let connected = any_certificate::connect(connect().await?, host).await;
                self.get(connected.map_err(NotAlive::Tls)?).await
            }
        }
    }

    async fn get(
        &self,
        connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Alive, NotAlive> {
        let request = Request::get(self.url.path())
            .header(header::HOST, self.url.authority())
            .header(
                header::USER_AGENT,
                concat!("registry-health/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| NotAlive::Exchange(error.into()))?;
        let response = match send(connection, request).await {
            Ok(response) => response,
            // It has shown its certificate, and wants ours.
            Err(error) if any_certificate::alert(&error) == Some(AlertDescription::CertificateRequired) => {
                return Ok(Alive::RequiresCertificate);
            }
            Err(error) => return Err(NotAlive::Exchange(error.into())),
        };
        let status = response.status();
        // A server that asks for a login is alive.
        if status.is_success() || status == StatusCode::UNAUTHORIZED {
            return Ok(Alive::Answered {
                status: status.to_string(),
            });
        }
        if status == StatusCode::FORBIDDEN && self.accepts_forbidden {
            return Ok(Alive::RefusesNetwork);
        }
        let body = match Limited::new(response.into_body(), REPORT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let report = String::from_utf8_lossy(&body);
        let report: Vec<_> = report.split_whitespace().collect();
        Err(NotAlive::Status {
            status: status.to_string(),
            report: report.join(" "),
        })
    }
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status } => f.write_str(status),
            Self::RequiresCertificate => f.write_str("it requires a client certificate"),
            Self::RefusesNetwork => f.write_str("it accepts only the networks in `http.allow`"),
        }
    }
}
