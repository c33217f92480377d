//! HTTPS: where certificates come from, and who keeps them up to date.

use crate::config::Certificate;
use registry_tls::{Files, Options, Tls, TlsError};

/// TLS with these files, if there are any. They are kept up to date for as long as the runtime lives.
pub(crate) fn start(certificate: Option<&Certificate>) -> Result<Option<Tls>, TlsError> {
    let Some(Certificate { chain, key }) = certificate else {
        return Ok(None);
    };
    let (tls, upkeep) = Tls::from_files(Files::new(chain, key), Options::new())?;
    tokio::spawn(upkeep.run());
    Ok(Some(tls))
}
