//! Certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.

mod backoff;
mod cache;
mod client;
mod failure;
mod order;
mod renewal;

pub(crate) use self::{order::validation_config, renewal::Renewal};

use crate::error::TlsError;
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// Directory of Let's Encrypt's authority.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Pause after the first failure that needs an operator. Doubled each time, it stays below the five failed validations
/// an hour that Let's Encrypt allows.
const FIRST_RETRY: Duration = Duration::from_secs(120);

/// An authority, and the certificates to order from it.
///
/// Use of this type accepts the authority's terms of service, without a prompt.
///
/// ```
/// use registry_tls::{Acme, ChallengeKind};
///
/// let acme = Acme::new("/var/lib/registry-acme", ["registry.example.com"])
///     .email("admin@example.com")
///     .challenge(ChallengeKind::Http01);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    pub(crate) cache: PathBuf,
    pub(crate) hosts: Vec<String>,
    pub(crate) directory: String,
    pub(crate) email: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) challenge: ChallengeKind,
    pub(crate) first_retry: Duration,
}

/// Proof for an authority that the server controls a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// Proof in a handshake on port 443, which must reach [`Tls::accept`](crate::Tls::accept): no proxy in front may
    /// end TLS.
    #[default]
    TlsAlpn01,
    /// Proof by a file on port 80, which must reach [`Redirect::answer`](crate::Redirect::answer).
    Http01,
}

impl Acme {
    /// Orders certificates for `hosts` only, one for each, from Let's Encrypt. Account and certificates are kept in the
    /// directory `cache`, which is created if missing: only its owner can enter it.
    #[must_use]
    pub fn new<S: Into<String>>(cache: impl Into<PathBuf>, hosts: impl IntoIterator<Item = S>) -> Self {
        Self {
            cache: cache.into(),
            hosts: hosts.into_iter().map(Into::into).collect(),
            directory: LETS_ENCRYPT.to_owned(),
            email: None,
            ca: None,
            challenge: ChallengeKind::default(),
            first_retry: FIRST_RETRY,
        }
    }

    /// Sets the URL of another authority's directory. Let's Encrypt's directory for tests is
    /// `https://acme-staging-v02.api.letsencrypt.org/directory`.
    #[must_use]
    pub fn directory_url(mut self, url: impl Into<String>) -> Self {
        self.directory = url.into();
        self
    }

    /// Sets the address to which the authority writes about problems.
    #[must_use]
    pub fn email(mut self, address: impl Into<String>) -> Self {
        self.email = Some(address.into());
        self
    }

    /// Sets a file with the certificates to trust for the authority's own HTTPS, instead of those of the system.
    #[must_use]
    pub fn directory_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Sets the kind of proof for the names.
    #[must_use]
    pub fn challenge(mut self, kind: ChallengeKind) -> Self {
        self.challenge = kind;
        self
    }

    /// Sets the pause after the first failure that needs an operator. Default: 2 minutes. Each further failure doubles
    /// it, up to half a day.
    #[must_use]
    pub fn first_retry(mut self, pause: Duration) -> Self {
        self.first_retry = pause;
        self
    }

    /// Refuses settings that no authority could use, before one is asked. [`Tls::from_acme`](crate::Tls::from_acme)
    /// does so, too; a host that reads a configuration may want to know earlier.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setting`], with the invalid value.
    pub fn check(&self) -> Result<(), TlsError> {
        let refused = |value: &str, hint: &str| {
            Err(TlsError::Setting {
                setting: "host of the ACME certificates",
                value: value.to_owned(),
                hint: hint.to_owned(),
            })
        };
        if self.hosts.is_empty() {
            return refused(
                "",
                "name at least one: certificates are ordered for configured names only",
            );
        }
        for host in &self.hosts {
            if host.contains('*') {
                return refused(
                    host,
                    "a wildcard needs the DNS challenge, which is not supported; name each host",
                );
            }
            if host.parse::<IpAddr>().is_ok() {
                return refused(host, "must be a host name, not an address");
            }
            let labels_are_fine = host.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            });
            if !labels_are_fine || host.len() > 253 {
                return refused(
                    host,
                    "must be a host name such as registry.example.com, without port or path",
                );
            }
        }
        if !self.directory.starts_with("https://") {
            return Err(TlsError::Setting {
                setting: "directory URL of the ACME authority",
                value: self.directory.clone(),
                hint: "must start with https://".to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_nothing_else() {
        let check = |host: &str| Acme::new("cache", [host]).check();

        assert!(check("registry.example.com").is_ok());
        assert!(check("localhost").is_ok());
        for wrong in [
            "",
            "*.example.com",
            "127.0.0.1",
            "::1",
            "a.example:443",
            "https://a.example",
            "a..b",
        ] {
            assert!(matches!(check(wrong), Err(TlsError::Setting { .. })), "{wrong}");
        }
        assert!(Acme::new("cache", Vec::<String>::new()).check().is_err());
    }

    #[test]
    fn the_directory_is_asked_by_https_only() {
        let plain = Acme::new("cache", ["a.example"]).directory_url("http://acme.example/");

        assert!(plain.check().is_err());
    }
}
