//! Certificates that are served now, by name.

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::{Arc, PoisonError, RwLock};

/// Certificates for handshakes, which [`Upkeep`](crate::Upkeep) replaces.
#[derive(Debug)]
pub(crate) struct CertResolver {
    /// True if the first certificate answers requests for any name.
    any_name: bool,
    certificates: RwLock<Vec<(String, Arc<CertifiedKey>)>>,
}

impl CertResolver {
    /// Makes a resolver for the certificate of files, which every client gets: the client decides.
    pub(crate) fn for_any_name() -> Self {
        Self {
            any_name: true,
            certificates: RwLock::default(),
        }
    }

    /// Makes a resolver for an authority's certificates, which refuses clients that ask for another name.
    #[cfg(feature = "acme")]
    pub(crate) fn for_known_names() -> Self {
        Self {
            any_name: false,
            certificates: RwLock::default(),
        }
    }

    pub(crate) fn put(&self, name: &str, certificate: Arc<CertifiedKey>) {
        let mut certificates = self.certificates.write().unwrap_or_else(PoisonError::into_inner);
        match certificates.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = certificate,
            None => certificates.push((name.to_owned(), certificate)),
        }
    }

    /// Returns the certificate for a client that asks for `name`. Without a name, the client connects by address or
    /// through an old proxy.
    pub(crate) fn get(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.read().unwrap_or_else(PoisonError::into_inner);
        let found = match name {
            Some(name) if !self.any_name => certificates
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name)),
            _ => certificates.first(),
        };
        found.map(|(_, certificate)| Arc::clone(certificate))
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get(hello.server_name())
    }
}
