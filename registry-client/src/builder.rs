//! [`ClientBuilder`]: settings of a client.

use crate::{
    auth::{Credentials, Tokens},
    certs_dir,
    client::{Client, Inner},
    config_error::ConfigError,
    host::Host,
    options::HostOptions,
    proxies::Proxies,
    retry::{Jitter, Retry},
    transport::{HostConnectors, HostTls, TlsRules, Transport},
    url,
};
use http::HeaderValue;
use rustls::crypto::CryptoProvider;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Time without a byte after which a request fails.
const IDLE: Duration = Duration::from_secs(60);

/// Settings of a [`Client`].
#[derive(Debug)]
pub struct ClientBuilder {
    hosts: BTreeMap<Host, HostOptions>,
    credentials: Vec<Arc<dyn Credentials>>,
    proxies: Proxies,
    provider: Option<Arc<CryptoProvider>>,
    retry: Retry,
    jitter: Jitter,
    idle: Duration,
    user_agent: String,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            credentials: Vec::new(),
            proxies: Proxies::default(),
            provider: default_provider(),
            retry: Retry::default(),
            jitter: Jitter::default(),
            idle: IDLE,
            user_agent: concat!("registry-client/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Returns a client without logins, with the default settings.
    #[must_use]
    pub fn new() -> Self {
        ClientBuilder::default().build().expect("the defaults are valid")
    }

    /// Sets up a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

#[cfg(feature = "ring")]
fn default_provider() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(feature = "ring"))]
fn default_provider() -> Option<Arc<CryptoProvider>> {
    None
}

impl ClientBuilder {
    /// Sets the options of one registry. Those that were set before stay, also the certificates of
    /// [`certs_dir`](Self::certs_dir); where both have a value, the new one counts.
    #[must_use]
    pub fn host(mut self, host: Host, options: HostOptions) -> Self {
        let earlier = self.hosts.remove(&host).unwrap_or_default();
        self.hosts.insert(host, options.over(earlier));
        self
    }

    /// Adds the certificates of a directory like `/etc/docker/certs.d`: `HOST[:PORT]/*.crt` are trusted, and `NAME.cert` with
    /// `NAME.key` is presented. The files are read now; a missing directory has none. A registry whose files the user may
    /// not read cannot be connected to, and the others can.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the file that cannot be read.
    pub fn certs_dir(mut self, directory: impl AsRef<Path>) -> Result<Self, ConfigError> {
        certs_dir::add(directory.as_ref(), &mut self.hosts)?;
        Ok(self)
    }

    /// Sets the proxies. The default is none.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Adds a source of credentials. The first one that has a credential decides.
    #[must_use]
    pub fn credentials(mut self, credentials: impl Credentials + 'static) -> Self {
        self.credentials.push(Arc::new(credentials));
        self
    }

    /// Removes the sources of credentials that were added before, such as those of
    /// [`from_env`](Self::from_env).
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials.clear();
        self
    }

    /// Sets the cryptography for TLS. It is used as a value, and not installed for the process. Required without the
    /// feature `ring`.
    #[must_use]
    pub fn crypto(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets the rules for attempts after transient failures.
    #[must_use]
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the source of random numbers for the pauses between attempts. The default is the system's.
    #[must_use]
    pub fn jitter(mut self, source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.jitter = Jitter(Arc::new(source));
        self
    }

    /// Sets the time without a byte in either direction after which a request fails; 60 seconds by default. The answer to
    /// the last request of an upload may take 10 times as long, because some registries read the whole blob before it.
    #[must_use]
    pub const fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the `User-Agent`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Creates the client. Nothing is connected to.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Malformed`] if the user agent is no header.
    pub fn build(self) -> Result<Client, ConfigError> {
        let user_agent = HeaderValue::try_from(self.user_agent).map_err(|error| ConfigError::Malformed {
            place: "the user agent".into(),
            problem: error.to_string(),
        })?;
        let mut plain = HashMap::new();
        let mut tls = HashMap::new();
        let mut connectors = HashMap::new();
        for (host, options) in self.hosts {
            let plain_http = options.plain_http.unwrap_or_else(|| {
                options.tls.is_none() && (host.is_loopback() || options.connector.is_some())
            });
            plain.insert(host.endpoint().to_owned(), plain_http);
            if let Some(connector) = options.connector {
                let key = url::without_default_port(host.endpoint(), !plain_http);
                connectors.insert(key.to_owned(), connector);
            }
            if let Some(options) = options.tls {
                let key = url::without_default_port(host.endpoint(), true);
                let options = match tls.remove(key) {
                    Some(earlier) => HostTls::over(options, earlier),
                    None => options,
                };
                tls.insert(key.to_owned(), options);
            }
        }
        let tls = Arc::new(TlsRules::new(self.provider, tls));
        Ok(Client::of(Inner {
            transport: Transport::new(tls, HostConnectors::new(connectors), self.proxies, self.idle),
            plain,
            credentials: self.credentials,
            tokens: Tokens::default(),
            challenges: Mutex::default(),
            retry: self.retry,
            jitter: self.jitter,
            user_agent,
        }))
    }
}
