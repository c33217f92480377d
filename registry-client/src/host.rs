//! [`Host`]: the name of a registry, as in the name of an image.

use http::uri::Authority;
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// Maximum length of a host, in bytes: a DNS name, a colon and a port.
const MAX: usize = 253 + 1 + 5;

/// Name of a registry, with a port if it is not the default: `registry.example`, `127.0.0.1:5000`, `[::1]:5000`.
///
/// ```
/// use registry_client::Host;
///
/// let host = Host::parse("Registry.Example:5000")?;
/// assert_eq!(host.as_str(), "registry.example:5000");
/// assert!(!host.is_loopback());
/// assert!(Host::parse("user@registry.example").is_err());
/// # Ok::<(), registry_client::InvalidHost>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// Error for a string that is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no registry: write a host name or an IP address, with `:port` if needed, and no scheme")]
pub struct InvalidHost(String);

impl Host {
    /// Parses `host` or `host:port`. Letters become lower-case.
    ///
    /// # Errors
    ///
    /// [`InvalidHost`] for anything else, such as a URL.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost(text.chars().take(64).collect());
        let authority: Authority = text.parse().map_err(|_malformed| invalid())?;
        let port = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                host.len() < text.len() && port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            _ => true,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let host = authority.host();
        let legal = match host.strip_prefix('[') {
            Some(address) => address.trim_end_matches(']').parse::<IpAddr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(plain),
        };
        if legal && port && !text.contains('@') && text.len() <= MAX {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(invalid())
        }
    }

    /// Returns the host as in names of images, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host and port that are connected to. Docker Hub has another one than its name says.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        if self.is_docker_hub() {
            "registry-1.docker.io"
        } else {
            &self.0
        }
    }

    pub(crate) fn is_docker_hub(&self) -> bool {
        matches!(&*self.0, "docker.io" | "index.docker.io" | "registry-1.docker.io")
    }

    /// Returns true if the host is this machine: an address in `127.0.0.0/8`, `[::1]`, or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

/// Returns true if `authority`, with or without a port, is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for text in [
            "registry.example",
            "a:1",
            "127.0.0.1:5000",
            "[::1]:5000",
            "[::1]",
            "localhost",
        ] {
            assert_eq!(Host::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "https://a",
            "a/b",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "u@a",
            "::1",
            "[::1]:",
            "a b",
            "[x]",
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, loopback) in [
            ("localhost:5000", true),
            ("a.localhost", true),
            ("127.8.8.8:1", true),
            ("[::1]:5000", true),
            ("127.0.0.1.example", false),
            ("localhost.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(Host::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
