//! The certificates that are served now, by name.

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::{Arc, PoisonError, RwLock};

/// What handshakes take certificates from, while [`Upkeep`](crate::Upkeep) replaces them.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Whether the first certificate answers whatever name is asked for.
    any_name: bool,
    certificates: RwLock<Vec<(String, Arc<CertifiedKey>)>>,
}

impl Shelf {
    /// For the certificate of files: it answers every client, and the client decides.
    pub(crate) fn for_any_name() -> Self {
        Self {
            any_name: true,
            certificates: RwLock::default(),
        }
    }

    /// For certificates of an authority: a client that asks for another name is refused.
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

    /// The certificate for a client that asks for `name`, or for none: by address, or through an old proxy.
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

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get(hello.server_name())
    }
}
