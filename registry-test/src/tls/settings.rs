//! [`TlsSettings`]: TLS as a test asks for it.

use super::certificates::Certificates;
use crate::tap::Encryption;
use rustls::crypto::CryptoProvider;
use std::{io, sync::Arc};

/// A shared value that exists only with TLS.
type Shared<T> = Option<Arc<T>>;

/// Settings of TLS.
#[derive(Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    pub(crate) client_certificate: bool,
}

impl TlsSettings {
    /// Creates the certificates of a registry with these names, also as the encryption of its connections.
    pub(crate) fn certificates(
        self,
        names: Vec<String>,
    ) -> io::Result<(Shared<Certificates>, Shared<dyn Encryption>)> {
        match self.provider {
            Some(provider) => {
                let certificates = Certificates::create(provider, names, self.client_certificate)?;
                let certificates = Arc::new(certificates);
                Ok((Some(Arc::clone(&certificates)), Some(certificates)))
            }
            None if self.client_certificate => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a client certificate needs TLS: call `Builder::tls`, too",
            )),
            None => Ok((None, None)),
        }
    }
}
