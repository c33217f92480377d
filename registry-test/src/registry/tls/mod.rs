//! TLS of a test registry.

use super::{Builder, TestRegistry};
use crate::tls::ClientCertificate;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

impl Builder {
    /// Serves HTTPS with a throw-away certificate for the address of the registry and for `localhost`. Clients have to
    /// trust [`TestRegistry::ca_pem`].
    ///
    /// The provider of the cryptography is yours; none is installed in the process.
    ///
    /// ```
    /// use registry_test::TestRegistry;
    /// use std::sync::Arc;
    ///
    /// let provider = Arc::new(rustls::crypto::ring::default_provider());
    /// let registry = TestRegistry::builder().tls(provider).start();
    ///
    /// assert!(registry.url().starts_with("https://127.0.0.1:"));
    /// assert!(registry.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    /// ```
    pub fn tls(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.tls.provider = Some(provider);
        self
    }

    /// Requires of every client that it identifies itself with the certificate [`TestRegistry::client_certificate`]. It
    /// needs [`tls`](Self::tls).
    pub fn client_certificate(mut self) -> Self {
        self.tls.client_certificate = true;
        self
    }
}

impl TestRegistry {
    /// Returns the certificate with which clients identify themselves, if the registry
    /// [requires](Builder::client_certificate) one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.certificates.as_ref()?.client()
    }
}

#[cfg(test)]
mod tests;
