//! HTTPS: where certificates come from, and who keeps them up to date.

use crate::cli::Serve;
use registry_tls::{Files, Options, Tls, TlsError};

/// TLS as the options ask for it, if they do. Certificates are kept up to date for as long as the runtime lives.
pub(crate) fn start(options: &Serve) -> Result<Option<Tls>, TlsError> {
    let (Some(certificate), Some(key)) = (&options.tls_cert, &options.tls_key) else {
        return Ok(None);
    };
    let (tls, upkeep) = Tls::from_files(Files::new(certificate, key), Options::new())?;
    tokio::spawn(upkeep.run());
    Ok(Some(tls))
}
