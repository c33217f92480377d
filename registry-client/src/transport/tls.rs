//! [`TlsRules`]: the certificates that are trusted and presented, per host. No provider is installed for the process.

use crate::config_error::ConfigError;
use registry_core::BoxError;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

/// Certificate and key that the client presents.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| ConfigError::Pem(error.to_string()))?;
        Ok(Self { chain, key })
    }
}

/// Reads at least one certificate.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(ConfigError::Pem("there is no certificate".into()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(ConfigError::Pem(error.to_string())),
    }
}

/// Settings of TLS for one host.
#[derive(Debug, Default)]
pub(crate) struct HostTls {
    pub(crate) trusted: Vec<CertificateDer<'static>>,
    pub(crate) identity: Option<Identity>,
    /// True if certificates are not verified.
    pub(crate) accepts_any: bool,
    /// Reason for which certificates are missing.
    pub(crate) unreadable: Option<String>,
}

impl HostTls {
    /// Adds earlier settings of the same host. Certificates that cannot be read are not needed if there are others.
    pub(crate) fn over(mut self, earlier: Self) -> Self {
        self.trusted.extend(earlier.trusted);
        self.identity = self.identity.or(earlier.identity);
        self.accepts_any |= earlier.accepts_any;
        self.unreadable = self.unreadable.and(earlier.unreadable);
        self
    }
}

/// Settings of TLS for all hosts.
pub(crate) struct TlsRules {
    provider: Option<Arc<CryptoProvider>>,
    /// By host and port, as they are connected to.
    hosts: HashMap<String, HostTls>,
    made: Mutex<HashMap<Option<String>, Arc<ClientConfig>>>,
}

impl fmt::Debug for TlsRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsRules")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl TlsRules {
    /// Uses `provider`, and the settings of hosts by their `host:port`, as they are connected to.
    pub(crate) fn new(provider: Option<Arc<CryptoProvider>>, hosts: HashMap<String, HostTls>) -> Self {
        Self {
            provider,
            hosts,
            made: Mutex::default(),
        }
    }

    /// Returns the configuration for connections to `authority`, which is in lower case. The first call reads the system's
    /// certificates, which blocks.
    pub(super) fn config(&self, authority: &str) -> Result<Arc<ClientConfig>, BoxError> {
        let special = self.hosts.get(authority);
        let key = special.map(|_| authority.to_owned());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(special)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, special: Option<&HostTls>) -> Result<ClientConfig, BoxError> {
        if let Some(problem) = special.and_then(|special| special.unreadable.as_deref()) {
            return Err(problem.into());
        }
        let provider = self
            .provider
            .as_ref()
            .ok_or("there is no cryptography for TLS: enable the feature `ring`, or pass a provider")?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?;
        let builder = if special.is_some_and(|special| special.accepts_any) {
            let verifier = AnyCertificate(Arc::clone(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_root_certificates(roots(special)?)
        };
        Ok(match special.and_then(|special| special.identity.as_ref()) {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        })
    }
}

/// Returns the certificates of the system, and those that are trusted besides.
fn roots(special: Option<&HostTls>) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that cannot be read. They are not needed unless a handshake says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in special.iter().flat_map(|special| &special.trusted) {
        roots.add(certificate.clone())?;
    }
    Ok(roots)
}

/// Verifier that accepts every certificate. The peer still has to own its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Error of settings with which no connection is possible.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(String);

impl Unusable {
    pub(super) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Returns the message of an error that comes again as long as the settings of both sides stay.
pub(super) fn impossible(cause: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(Unusable(problem)) = cause.downcast_ref() {
        return Some(problem.clone());
    }
    // The source of an I/O error is that of the error in it.
    let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
    match inner.downcast_ref()? {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("the registry does not answer in TLS; allow plain HTTP if it has no TLS".into())
        }
        error @ (rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_)) => {
            Some(error.to_string())
        }
        error @ rustls::Error::AlertReceived(alert) => {
            let passes = matches!(
                alert,
                AlertDescription::InternalError | AlertDescription::UserCanceled
            );
            (!passes).then(|| error.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_cannot_be_read_are_an_error_of_their_host_alone() {
        let unreadable = || HostTls {
            unreadable: Some("cannot read client.key".into()),
            ..HostTls::default()
        };
        let hosts = HashMap::from([
            ("a.example".to_owned(), unreadable()),
            ("b.example".to_owned(), unreadable().over(HostTls::default())),
        ]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let rules = TlsRules::new(Some(provider), hosts);

        let error = rules.config("a.example").unwrap_err();
        assert!(error.to_string().contains("client.key"), "{error}");
        for host in ["b.example", "c.example"] {
            rules.config(host).unwrap();
        }
    }
}
