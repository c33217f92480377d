//! [`HostOptions`]: settings for one registry.

use crate::{
    config_error::ConfigError,
    transport::{HostTls, Identity, certificates},
};

/// Settings for one registry.
///
/// ```
/// use registry_client::{Client, Host, HostOptions};
///
/// let host = Host::parse("registry.internal:5000")?;
/// let client = Client::builder()
///     .host(host, HostOptions::new().plain_http(true))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct HostOptions {
    pub(crate) plain_http: Option<bool>,
    pub(crate) tls: Option<HostTls>,
}

impl HostOptions {
    /// Returns the defaults: `https`, and plain HTTP only on this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets connections fail because the certificates cannot be read.
    pub(crate) fn unreadable(mut self, problem: String) -> Self {
        self.tls.get_or_insert_default().unreadable = Some(problem);
        self
    }

    /// Adds the earlier options of the same registry. These ones take precedence.
    pub(crate) fn over(self, earlier: Self) -> Self {
        let tls = match (self.tls, earlier.tls) {
            (Some(tls), Some(earlier)) => Some(tls.over(earlier)),
            (tls, earlier) => tls.or(earlier),
        };
        Self {
            plain_http: self.plain_http.or(earlier.plain_http),
            tls,
        }
    }

    /// Sets whether `http` without TLS is used. With `true`, passwords are sent unencrypted.
    #[must_use]
    pub fn plain_http(self, plain_http: bool) -> Self {
        Self {
            plain_http: Some(plain_http),
            ..self
        }
    }

    /// Trusts the certificates in `pem`, beside those of the system. Uses `https`, on this machine too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Pem`] if there is no certificate.
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        let mut trusted = certificates(pem)?;
        self.tls.get_or_insert_default().trusted.append(&mut trusted);
        Ok(self)
    }

    /// Presents a certificate to the registry, with its key. Uses `https`, on this machine too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Pem`] if there is no certificate or no key.
    pub fn identity_pem(mut self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.tls.get_or_insert_default().identity = Some(Identity::from_pem(chain, key)?);
        Ok(self)
    }
}
