//! [`Origin`]: scheme, host and port of a server.

use http::{Uri, uri::Authority};
use std::fmt;

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// Host in lower case; an IPv6 address is without brackets.
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl Origin {
    /// Returns the origin of an absolute URL; `None` if it has another scheme, or no host.
    pub(super) fn of(url: &Uri) -> Option<Self> {
        let scheme = match url.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return None,
        };
        url.authority().map(|authority| Self::new(scheme, authority))
    }

    pub(super) fn new(scheme: Scheme, authority: &Authority) -> Self {
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or_else(|| scheme.port()),
        }
    }

    /// Returns the host in the form for the resolver.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns true if the port is the default of the scheme.
    pub(super) const fn has_default_port(&self) -> bool {
        self.port == self.scheme.port()
    }

    /// Returns the same host with another scheme and port.
    pub(super) fn at(&self, scheme: Scheme, port: u16) -> Self {
        Self {
            scheme,
            host: self.host.clone(),
            port,
        }
    }

    /// Returns the authority, as in the header `Host`.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.has_default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}
