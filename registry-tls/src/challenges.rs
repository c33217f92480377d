//! Proofs that an ACME authority asks for while an order runs: the server that ordered controls the name.

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// ALPN protocol that a validating authority asks for in its handshake (RFC 8737).
pub(crate) const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Proofs that are shown right now. Empty unless an order runs.
#[derive(Default)]
pub(crate) struct Challenges(RwLock<Vec<Challenge>>);

/// One proof, for the kind of challenge that the authority uses.
#[cfg_attr(not(feature = "acme"), expect(dead_code, reason = "only orders make them"))]
pub(crate) enum Challenge {
    /// A file below `/.well-known/acme-challenge/` (RFC 8555, section 8.3).
    Http01 {
        token: String,
        key_authorization: String,
    },
    /// A certificate with the proof in it (RFC 8737).
    TlsAlpn01 {
        host: String,
        certificate: Arc<CertifiedKey>,
    },
}

impl Challenges {
    /// Shows a proof until the returned value is dropped.
    #[cfg(feature = "acme")]
    pub(crate) fn show(self: &Arc<Self>, challenge: Challenge) -> Shown {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(challenge);
        Shown(Arc::clone(self))
    }

    /// Returns the content of the file named `token`.
    pub(crate) fn key_authorization(&self, token: &str) -> Option<String> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shown.iter().find_map(|challenge| match challenge {
            Challenge::Http01 {
                token: known,
                key_authorization,
            } if known == token => Some(key_authorization.clone()),
            _ => None,
        })
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shown.iter().find_map(|challenge| match challenge {
            Challenge::TlsAlpn01 { host, certificate } if host.eq_ignore_ascii_case(name) => {
                Some(Arc::clone(certificate))
            }
            _ => None,
        })
    }
}

/// Hides key authorizations, which must not be logged.
impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}

/// Guard for the proofs of one order; dropping it removes them.
#[cfg(feature = "acme")]
pub(crate) struct Shown(Arc<Challenges>);

#[cfg(feature = "acme")]
impl Drop for Shown {
    fn drop(&mut self) {
        // Orders run one after the other.
        self.0.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
