//! `registry health`: checks that a server is alive, for a container's `HEALTHCHECK`.

use super::{cli::Health, sources::sources};
use crate::{
    causes::with_causes,
    config::{Config, Settings},
    listen::Listen,
    printable,
    socket::Socket,
};
use registry_doctor::{Probe, ServerUrl};
use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
};

/// Path that every registry answers.
const BASE: &str = "/v2/";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Prints that the server is alive, or fails with the reason.
pub(crate) fn run(options: Health) -> Result<()> {
    let (url, probe) = match options.url {
        Some(url) => {
            let url = ServerUrl::parse(&url, BASE)?;
            (url.clone(), Probe::new(url))
        }
        None => own(options.config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let alive = runtime
        .block_on(probe.ask())
        .map_err(|error| format!("unhealthy: {url}: {}", with_causes(&error)))?;
    let mut out = io::stdout().lock();
    writeln!(out, "healthy: {url}: {}", printable::Line(alive))?;
    out.flush()?;
    Ok(())
}

/// Returns the local address of a server with this configuration and the environment of this process, and a probe of it.
fn own(file: Option<PathBuf>) -> Result<(ServerUrl, Probe)> {
    let config = Config::load(sources(file))?;
    let Settings { http, .. } = config.settings;
    let (scheme, prefix) = (http.scheme(), &http.prefix);
    let url = match http.socket {
        Socket::Tcp(Listen { port: 0, .. }) => {
            return Err("`http.addr` has no fixed port; pass a URL".into());
        }
        Socket::Tcp(address) => format!("{scheme}://{}{prefix}/v2/", address.locally()),
        socket @ Socket::Unix(_) => format!("{socket}:{prefix}/v2/"),
    };
    let url = ServerUrl::parse(&url, BASE)?;
    let mut probe = Probe::new(url.clone());
    if http.admission.allowed.is_some() {
        // This machine need not be among the networks that may connect.
        probe = probe.accept_forbidden();
    }
    Ok((url, probe))
}
