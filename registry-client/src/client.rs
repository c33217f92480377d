//! [`Client`]: the entry point.

use crate::{
    auth::{Challenge, Credentials, Tokens},
    error::{Error, Result},
    host::{Host, is_loopback},
    retry::{Attempts, Jitter, Retry},
    transport::Transport,
};
use http::{HeaderValue, Uri, uri::InvalidUri};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Client of any number of registries. Clones share connections and logins.
///
/// It needs a tokio runtime with its time and I/O drivers. Each connection is a task of that runtime, which ends with
/// the connection.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    /// Configured endpoints: true for plain HTTP.
    pub(crate) plain: HashMap<String, bool>,
    pub(crate) credentials: Vec<Arc<dyn Credentials>>,
    pub(crate) tokens: Tokens,
    /// Challenges of the registries that have required a login.
    pub(crate) challenges: Mutex<HashMap<Host, Challenge>>,
    pub(crate) retry: Retry,
    pub(crate) jitter: Jitter,
    pub(crate) user_agent: HeaderValue,
}

impl Client {
    pub(crate) fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Returns true if plain HTTP is used for this host and port.
    pub(crate) fn is_plain(&self, authority: &str) -> bool {
        let of = |authority: &str| self.0.plain.get(authority).copied();
        // Plain HTTP of a host without a port is that of port 80.
        let without_port = || of(authority.strip_suffix(":80")?).filter(|plain| *plain);
        let configured = of(authority).or_else(without_port);
        configured.unwrap_or_else(|| is_loopback(authority))
    }

    /// Returns the URL of `host` itself.
    pub(crate) fn origin(&self, host: &Host) -> Uri {
        self.address(host, "/").expect("a host and a slash are a URL")
    }

    /// Returns the URL of `target` at `host`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the target is longer than a URL may be.
    pub(crate) fn url(&self, host: &Host, target: &str) -> Result<Uri> {
        let too_long = |_| {
            let problem = format!("a URL with a target of {} bytes is too long", target.len());
            Error::protocol(host.as_str(), problem)
        };
        self.address(host, target).map_err(too_long)
    }

    fn address(&self, host: &Host, target: &str) -> Result<Uri, InvalidUri> {
        let authority = host.endpoint();
        let scheme = if self.is_plain(authority) { "http" } else { "https" };
        format!("{scheme}://{authority}{target}").parse()
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(self.0.retry, self.0.jitter.clone())
    }
}
