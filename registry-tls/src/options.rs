//! TLS settings: versions, cipher suites, protocols, and client certificates.

use crate::{
    cert_reloader::MAX_BYTES,
    error::TlsError,
    pair::{File, certificates},
};
use registry_reload::Files;
use rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{ResolvesServerCert, WebPkiClientVerifier},
    version::TLS13,
};
use std::{path::PathBuf, sync::Arc};

/// TLS settings. The default: TLS 1.2 and 1.3, every suite of the provider (all of them with forward secrecy), HTTP/2
/// and HTTP/1.1, no client certificates.
///
/// The values are those of `http.tls.minimumtls`, `ciphersuites` and `clientauth` in `registry:2`.
///
/// ```
/// use registry_tls::{ClientAuth, Options};
///
/// let options = Options::new()
///     .minimum_version("tls1.3")?
///     .client_cas(["/certs/clients.crt"])
///     .client_auth(ClientAuth::IfGiven)
///     .http2(false);
///
/// let error = options.minimum_version("ssl3").unwrap_err();
/// assert_eq!(error.to_string(), "invalid minimum TLS version \"ssl3\": must be tls1.2 or tls1.3");
/// # Ok::<(), registry_tls::TlsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    minimum_version: Version,
    /// Version that was asked for but is no longer supported.
    obsolete_version: Option<String>,
    /// Names of the suites; if empty, all of them.
    suites: Vec<String>,
    pub(crate) client_cas: Vec<PathBuf>,
    client_auth: ClientAuth,
    http2: bool,
}

/// Oldest version that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

/// Versions for the minimum `tls1.3`.
static TLS13_ALONE: &[&SupportedProtocolVersion] = &[&TLS13];

impl Version {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ALONE,
        }
    }
}

/// Requirement on clients if authorities for client certificates are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// The client must present a certificate of one of the authorities.
    #[default]
    Required,
    /// The client may connect without a certificate, but not with one of another authority.
    IfGiven,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            minimum_version: Version::Tls12,
            obsolete_version: None,
            suites: Vec::new(),
            client_cas: Vec::new(),
            client_auth: ClientAuth::default(),
            http2: true,
        }
    }
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the oldest version: `tls1.2` or `tls1.3`. `tls1.0` and `tls1.1` count as `tls1.2`, with a warning: nothing
    /// older is supported (RFC 8996).
    ///
    /// # Errors
    ///
    /// [`TlsError::Setting`] for anything else.
    pub fn minimum_version(mut self, version: &str) -> Result<Self, TlsError> {
        (self.minimum_version, self.obsolete_version) = match version {
            "tls1.3" => (Version::Tls13, None),
            "tls1.2" => (Version::Tls12, None),
            "tls1.0" | "tls1.1" => (Version::Tls12, Some(version.to_owned())),
            _ => {
                return Err(TlsError::Setting {
                    setting: "minimum TLS version",
                    value: version.to_owned(),
                    hint: "must be tls1.2 or tls1.3".to_owned(),
                });
            }
        };
        Ok(self)
    }

    /// Sets the cipher suites, by the names of the IANA (and Go), such as `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
    /// Without any name, every suite is enabled.
    ///
    /// If none of TLS 1.3's three suites is named, all three are enabled, as in `registry:2`: they are no risk.
    #[must_use]
    pub fn cipher_suites<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the files with the authorities that sign client certificates. Any file turns on [`ClientAuth::Required`].
    #[must_use]
    pub fn client_cas<P: Into<PathBuf>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.client_cas = files.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the requirement on clients if [`client_cas`](Self::client_cas) are set.
    #[must_use]
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// Offers HTTP/2 if `offered` is true. HTTP/1.1 is always offered.
    #[must_use]
    pub fn http2(mut self, offered: bool) -> Self {
        self.http2 = offered;
        self
    }

    /// Logs one warning for each setting that is not supported.
    pub(crate) fn warn(&self) {
        if let Some(version) = &self.obsolete_version {
            tracing::warn!("{version} is no longer supported (RFC 8996): the oldest version is tls1.2");
        }
        for name in self.suites.iter().filter(|name| is_obsolete(name)) {
            tracing::warn!("the cipher suite {name} is ignored: it has no forward secrecy, or is broken");
        }
    }

    /// Returns the files with the authorities that sign client certificates.
    pub(crate) fn client_ca_files(&self) -> Files {
        Files::new(&self.client_cas, MAX_BYTES)
    }

    /// Builds the server configuration with these options and the contents of the files with authorities.
    pub(crate) fn config(
        &self,
        provider: &Arc<CryptoProvider>,
        client_cas: &[Vec<u8>],
        resolver: Arc<dyn ResolvesServerCert>,
    ) -> Result<ServerConfig, TlsError> {
        let provider = self.provider(provider)?;
        let roots = self.roots(client_cas)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.minimum_version.and_later())
            .map_err(TlsError::setup)?;
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match self.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::IfGiven => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::setup)?)
            }
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = match self.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(config)
    }

    /// Returns the authorities for client certificates; `None` if clients are not asked for one.
    fn roots(&self, contents: &[Vec<u8>]) -> Result<Option<RootCertStore>, TlsError> {
        if self.client_cas.is_empty() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        for (path, content) in self.client_cas.iter().zip(contents) {
            for certificate in certificates(File { path, content })? {
                roots.add(certificate.der).map_err(TlsError::setup)?;
            }
        }
        Ok(Some(roots))
    }

    /// Returns the provider with the requested suites only.
    fn provider(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<CryptoProvider>, TlsError> {
        if self.suites.is_empty() {
            return Ok(Arc::clone(provider));
        }
        let mut asked = Vec::new();
        for name in &self.suites {
            match provider
                .cipher_suites
                .iter()
                .find(|suite| iana_name(suite.suite()) == *name)
            {
                Some(suite) => asked.push(*suite),
                None if is_obsolete(name) => {
                    tracing::warn!(
                        "the cipher suite {name} is ignored: it has no forward secrecy, or is broken"
                    );
                }
                None => return Err(unknown_suite(name, provider)),
            }
        }
        if !asked.iter().any(is_tls13) {
            asked.extend(provider.cipher_suites.iter().copied().filter(is_tls13));
        }
        Ok(Arc::new(CryptoProvider {
            cipher_suites: asked,
            ..provider.as_ref().clone()
        }))
    }
}

fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

/// Returns the registered name: `rustls` writes `TLS13_` where the registry has `TLS_`.
fn iana_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replace("TLS13_", "TLS_")
}

/// Returns true for suites that `registry:2` knows and that are not supported here: static RSA keys, CBC, RC4.
fn is_obsolete(name: &str) -> bool {
    name.starts_with("TLS_RSA_WITH_")
        || (name.starts_with("TLS_") && (name.contains("_CBC_") || name.contains("_RC4_")))
}

fn unknown_suite(name: &str, provider: &CryptoProvider) -> TlsError {
    let known: Vec<String> = provider
        .cipher_suites
        .iter()
        .map(|suite| iana_name(suite.suite()))
        .collect();
    TlsError::Setting {
        setting: "cipher suite",
        value: name.to_owned(),
        hint: format!("must be one of: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::provider;

    fn suites(names: &[&str]) -> Result<Vec<String>, TlsError> {
        let options = Options::new().cipher_suites(names.iter().copied());
        let provider = options.provider(&provider().unwrap())?;
        Ok(provider
            .cipher_suites
            .iter()
            .map(|suite| iana_name(suite.suite()))
            .collect())
    }

    #[test]
    fn suites_are_taken_by_the_names_of_go_and_those_of_tls13_stay() {
        let chosen = suites(&[
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
        ])
        .unwrap();

        assert_eq!(chosen.len(), 4, "{chosen:?}");
        assert_eq!(chosen[0], "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
        assert!(
            chosen.contains(&"TLS_CHACHA20_POLY1305_SHA256".to_owned()),
            "{chosen:?}"
        );
    }

    #[test]
    fn a_suite_of_tls13_that_is_named_is_the_only_one_of_tls13() {
        assert_eq!(
            suites(&["TLS_AES_256_GCM_SHA384"]).unwrap(),
            ["TLS_AES_256_GCM_SHA384"]
        );
    }

    #[test]
    fn an_unknown_suite_is_refused_with_the_known_ones() {
        let message = suites(&["TLS_AES_256"]).unwrap_err().to_string();

        assert!(message.contains("\"TLS_AES_256\""), "{message}");
        assert!(
            message.contains("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            "{message}"
        );
    }

    #[test]
    fn versions_are_the_texts_of_the_configuration() {
        let versions = |text| {
            Options::new()
                .minimum_version(text)
                .map(|options| options.minimum_version.and_later().len())
        };

        assert_eq!(versions("tls1.3").unwrap(), 1);
        assert_eq!(versions("tls1.2").unwrap(), 2);
        assert_eq!(versions("tls1.0").unwrap(), 2);
        assert_eq!(
            versions("1.2").unwrap_err().to_string(),
            "invalid minimum TLS version \"1.2\": must be tls1.2 or tls1.3"
        );
    }
}
