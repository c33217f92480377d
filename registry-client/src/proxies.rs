//! [`Proxies`]: the proxies between the client and registries.

use crate::{config_error::ConfigError, host::is_loopback};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::{fmt, sync::Arc};

/// Proxies between the client and registries. This machine itself is reached without one.
///
/// ```
/// use registry_client::{Client, Proxies};
///
/// let proxies = Proxies::all("http://user:pw@proxy.example:3128", "registry.internal,10.0.0.0/8")?;
/// let client = Client::builder().proxies(proxies).build()?;
/// # Ok::<(), registry_client::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Proxies(Arc<Matcher>);

impl Proxies {
    /// Uses one proxy for all registries except those in `except`: a list of domains, addresses and networks, as in
    /// `NO_PROXY`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Malformed`] unless `proxy` is the URL of an HTTP proxy.
    pub fn all(proxy: &str, except: &str) -> Result<Self, ConfigError> {
        let matcher = Matcher::builder().all(proxy).no("").build();
        let found = matcher.intercept(&Uri::from_static("https://registry.example"));
        let scheme = found.and_then(|found| found.uri().scheme_str().map(str::to_owned));
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(ConfigError::Malformed {
                place: "the proxy".into(),
                problem: "it is no URL of an HTTP proxy, such as `http://proxy.example:3128`".into(),
            });
        }
        Ok(Self(Arc::new(Matcher::builder().all(proxy).no(except).build())))
    }

    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case. An unusable value counts as
    /// none, and so does a proxy that is not an HTTP proxy, such as `socks5://proxy.example`.
    #[must_use]
    pub fn from_env() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    /// Returns the proxy for a URL.
    pub(crate) fn of(&self, url: &Uri) -> Option<Intercept> {
        if url.host().is_none_or(is_loopback) {
            return None;
        }
        let http = |proxy: &Intercept| matches!(proxy.uri().scheme_str(), Some("http" | "https"));
        self.0.intercept(url).filter(http)
    }

    /// Returns the login that a request in plain HTTP carries for its proxy. Others have it in their tunnel.
    pub(crate) fn login(&self, url: &Uri) -> Option<HeaderValue> {
        if crate::url::is_https(url) {
            return None;
        }
        self.of(url)?.basic_auth().cloned()
    }
}

impl Default for Proxies {
    /// Uses no proxy.
    fn default() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may have passwords.
        f.write_str("Proxies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_and_this_machine_have_no_proxy() {
        let proxies = Proxies::all("http://proxy.example:3128", "a.example,10.0.0.0/8").unwrap();
        for (url, expected) in [
            ("https://b.example/v2/", true),
            ("http://b.example/v2/", true),
            ("https://a.example/v2/", false),
            ("https://sub.a.example/v2/", false),
            ("https://10.1.2.3:5000/v2/", false),
            ("http://127.0.0.1:5000/v2/", false),
            ("http://[::1]:5000/v2/", false),
            ("http://localhost/v2/", false),
        ] {
            assert_eq!(proxies.of(&url.parse().unwrap()).is_some(), expected, "{url}");
        }
        assert!(
            Proxies::default()
                .of(&"https://b.example".parse().unwrap())
                .is_none()
        );
    }

    #[test]
    fn other_proxies_of_the_environment_count_as_none() {
        for (proxy, used) in [("socks5://proxy.example", false), ("http://proxy.example", true)] {
            let proxies = Proxies(Arc::new(Matcher::builder().all(proxy).build()));
            let found = proxies.of(&Uri::from_static("https://b.example/v2/"));
            assert_eq!(found.is_some(), used, "{proxy}");
        }
    }

    #[test]
    fn other_proxies_are_refused() {
        for proxy in ["", "socks5://proxy.example", "http://"] {
            assert!(Proxies::all(proxy, "").is_err(), "{proxy:?}");
        }
    }
}
