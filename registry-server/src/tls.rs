//! HTTPS: certificates and their renewal, and the redirect on port 80.

use crate::{
    causes::with_causes,
    denied,
    listen::{Listen, bind},
    tasks::Tasks,
};
use axum::{Router, extract::Request};
use registry_tls::{Acme, Files, Options, Tls, TlsError};
use std::{error::Error, sync::Arc};
use tokio::{net::TcpListener, sync::Mutex};

/// Settings of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) certificates: Certificates,
    pub(crate) options: Options,
    pub(crate) redirect: Option<Redirect>,
}

/// Source of the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificates {
    Files(Files),
    Acme(Acme),
}

/// Listener for clients that use `http://`, and for authorities that validate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) listen: Listen,
    /// Port of https for clients; the listener's port if `None`.
    pub(crate) port: Option<u16>,
}

/// Sets up TLS. Certificates are kept up to date, and redirects answered, until the server ends.
pub(crate) async fn start(
    settings: &Settings,
    port: u16,
    tasks: &mut Tasks,
) -> Result<Tls, Box<dyn Error + Send + Sync>> {
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
    }
    .map_err(|error| explained(&error))?;
    if let Some((listener, port)) = redirected {
        let redirect = tls.redirect(port);
        let app = Router::new().fallback(async move |request: Request| redirect.answer(&request));
        tracing::info!("redirecting to https from http://{}", listener.local_addr()?);
        tasks.listen("redirect to https", listener, app);
    }
    // The lock is free whenever the work starts again.
    let upkeep = Arc::new(Mutex::new(upkeep));
    tasks.repeat("certificates", move || {
        let upkeep = Arc::clone(&upkeep);
        async move { upkeep.lock().await.keep().await }
    });
    Ok(tls)
}

/// Explains why TLS cannot be set up. Of a file that may not be read, it names the owner and the command that helps.
fn explained(error: &TlsError) -> String {
    let hint = match error {
        TlsError::Read { path, .. } => denied::hint(path),
        _ => String::new(),
    };
    format!("{}{hint}", with_causes(error))
}

async fn listen(address: &Listen) -> Result<TcpListener, String> {
    bind(address).await.map_err(|error| {
        format!("cannot listen on {address} to redirect to https: {error}; set another address or port with `http.redirect.addr`")
    })
}
