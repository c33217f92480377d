//! [`HostOptions`]: settings for one registry.

use crate::{
    config_error::ConfigError,
    transport::{HostConnector, HostTls, Identity, certificates},
};
use registry_core::BoxError;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};

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
    pub(crate) connector: Option<HostConnector>,
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
            connector: self.connector.or(earlier.connector),
        }
    }

    /// Opens connections to this registry with a function, in place of TCP and any proxy. Connections are pooled, so that one
    /// has many requests. A redirect to another host does not use it.
    ///
    /// Plain HTTP is used over it, unless `plain_http(false)` or certificates are set. The name of the host, which need not
    /// exist, is in requests and messages. For a registry on a Unix socket:
    ///
    /// ```
    /// use registry_client::{Client, Host, HostOptions};
    /// use tokio::net::UnixStream;
    ///
    /// let host = Host::parse("registry.socket")?;
    /// let connect = || UnixStream::connect("/run/registry.sock");
    /// let client = Client::builder()
    ///     .host(host, HostOptions::new().connector(connect))
    ///     .build()?;
    /// let repository = client.repository("registry.socket/team/app")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// An error of the function is transient, as that of any connection: [`Retry`](crate::Retry) has the attempts.
    #[must_use]
    pub fn connector<F, C, S, E>(self, connect: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = Result<S, E>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        E: Into<BoxError>,
    {
        Self {
            connector: Some(HostConnector::new(connect)),
            ..self
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

    /// Accepts every certificate of the registry. Anybody between can then read and change everything, also passwords. Uses
    /// `https`, on this machine too.
    #[must_use]
    pub fn accept_any_certificate(mut self) -> Self {
        self.tls.get_or_insert_default().accepts_any = true;
        self
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
