//! `registry health`: checks that a server is alive, for a container's `HEALTHCHECK`.
//!
//! It sends no credentials and relies only on a status, so it accepts every certificate: few certificates are valid for
//! loopback. It does not test if clients trust the certificate.
//!
//! [`Check`] is for the opposite direction: a check that contributes to the server's own health.

mod checks;
mod exchange;
mod target;

pub(crate) use self::{
    checks::{Check, Probe},
    target::Target,
};

use self::{
    exchange::send,
    target::{BASE, Transport},
};
use crate::{
    any_certificate,
    causes::with_causes,
    cli::Health,
    config::{self, Config, Settings, Sources},
    listen::Listen,
    printable,
    socket::Socket,
};
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};
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

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Prints that the server is alive, or fails with the reason.
pub(crate) fn run(options: Health) -> Result<()> {
    let target = match options.url {
        Some(url) => Target::parse(&url, BASE)?,
        None => own(options.config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = runtime.block_on(async { timeout(PATIENCE, ask(&target)).await });
    let found = asked
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()).into()))
        .map_err(|error| format!("unhealthy: {target}: {}", with_causes(&*error)))?;
    let mut out = io::stdout().lock();
    writeln!(out, "healthy: {target}: {}", printable::Line(found))?;
    out.flush()?;
    Ok(())
}

/// Returns the local address of a server with this configuration and the environment of this process.
fn own(file: Option<PathBuf>) -> Result<Target> {
    let config = Config::load(Sources {
        file,
        variables: config::variables(),
        flags: Vec::new(),
    })?;
    let Settings { http, .. } = config.settings;
    let (scheme, prefix) = (http.scheme(), &http.prefix);
    let url = match http.socket {
        Socket::Tcp(Listen { port: 0, .. }) => {
            return Err("`http.addr` has no fixed port; pass a URL".into());
        }
        Socket::Tcp(address) => format!("{scheme}://{}{prefix}/v2/", address.locally()),
        socket @ Socket::Unix(_) => format!("{socket}:{prefix}/v2/"),
    };
    let mut target = Target::parse(&url, BASE)?;
    target.may_refuse = http.admission.allowed.is_some();
    Ok(target)
}

/// Asks the server, and describes the answer that shows that it is alive.
async fn ask(target: &Target) -> Result<String> {
    let cannot_connect = |error| format!("cannot connect: {error}");
    let connect = async || {
        TcpStream::connect((target.host(), target.port()))
            .await
            .map_err(cannot_connect)
    };
    let answer = match target.transport() {
        Transport::Unix(path) => {
            let connection = UnixStream::connect(path).await.map_err(cannot_connect)?;
            get(connection, target).await
        }
        Transport::Plain => get(connect().await?, target).await,
        Transport::Tls => match any_certificate::connect(connect().await?, target.host()).await {
            Ok(connection) => get(connection, target).await,
            Err(error) => Err(format!("no TLS: {error}").into()),
        },
    };
    match answer {
        // It has shown its certificate, and wants ours, which nobody gave to this command.
        Err(error) if any_certificate::alert(&*error) == Some(AlertDescription::CertificateRequired) => {
            Ok("it requires a client certificate".into())
        }
        answer => answer,
    }
}

async fn get(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    target: &Target,
) -> Result<String> {
    let request = Request::get(target.path())
        .header(header::HOST, target.authority())
        .header(
            header::USER_AGENT,
            concat!("registry-health/", env!("CARGO_PKG_VERSION")),
        )
        .body(Body::empty())?;
    let response = send(connection, request).await?;
    let status = response.status();
    // Whoever asks for a login is alive.
    if status.is_success() || status == StatusCode::UNAUTHORIZED {
        return Ok(status.to_string());
    }
    // This machine need not be among the networks that may connect.
    if status == StatusCode::FORBIDDEN && target.may_refuse {
        return Ok("it accepts only the networks in `http.allow`".into());
    }
    let body = to_bytes(Body::new(response.into_body()), REPORT)
        .await
        .unwrap_or_default();
    let report = String::from_utf8_lossy(&body);
    let report: Vec<_> = report.split_whitespace().collect();
    Err(format!("{status} {}", report.join(" ")).trim_end().into())
}
