//! HTTPS: where certificates come from, who keeps them up to date, and what port 80 is for.

use crate::listen::{Listen, bind};
use axum::{Router, extract::Request};
use registry_tls::{Acme, Files, Options, Tls};
use std::error::Error;
use tokio::net::TcpListener;

/// How TLS is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) certificates: Certificates,
    pub(crate) options: Options,
    pub(crate) redirect: Option<Redirect>,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificates {
    Files(Files),
    Acme(Acme),
}

/// The listener for those who leave out the `s`, and for authorities that validate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) listen: Listen,
    /// Where clients reach https; the listener's port unless given.
    pub(crate) port: Option<u16>,
}

/// TLS as it is set up. Certificates are kept up to date, and redirects answered, for as long as the runtime lives.
pub(crate) async fn start(settings: &Settings, port: u16) -> Result<Tls, Box<dyn Error>> {
    let Settings {
        certificates,
        options,
        redirect,
    } = settings.clone();
    let redirected = match &redirect {
        None => None,
        Some(redirect) => Some((listen(&redirect.listen).await?, redirect.port.unwrap_or(port))),
    };
    let (tls, upkeep) = match certificates {
        Certificates::Files(files) => Tls::from_files(files, options),
        Certificates::Acme(acme) => Tls::from_acme(acme, options),
    }?;
    if let Some((listener, port)) = redirected {
        let redirect = tls.redirect(port);
        let app = Router::new().fallback(async move |request: Request| redirect.answer(&request));
        tracing::info!("redirecting to https from http://{}", listener.local_addr()?);
        tokio::spawn(registry_axum::serve(listener, app));
    }
    tokio::spawn(upkeep.run());
    Ok(tls)
}

async fn listen(address: &Listen) -> Result<TcpListener, String> {
    bind(address).await.map_err(|error| {
        format!("cannot listen on {address} to redirect to https: {error}; `http.redirect.addr` takes another address and port")
    })
}
