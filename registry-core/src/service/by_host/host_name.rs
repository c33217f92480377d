//! [`HostName`]: the name of a host, without the port.

use crate::protocol::InvalidRequest;
use http::{HeaderMap, HeaderName, Version, header, request::Parts};
use std::{fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Maximum length of a name in the DNS, in characters.
const LONGEST: usize = 253;

/// Name or address of a host, as a client requests it: `registry.example.com`.
///
/// Two texts that name the same host are equal:
///
/// - letters are in lower case,
/// - a port and the dot at the end are removed,
/// - an IPv6 address is in brackets, in its shortest form.
///
/// Names of the DNS are in ASCII. A client sends an internationalized name in its ASCII form, `xn--…`, and other forms
/// are refused.
///
/// ```
/// use registry_core::service::HostName;
///
/// let host = HostName::parse("Registry.Example.com.:5000")?;
/// assert_eq!(host.as_str(), "registry.example.com");
/// assert_eq!(HostName::parse("[::0:1]:5000")?.as_str(), "[::1]");
/// assert!(HostName::parse("ann@registry.example.com").is_err());
/// assert!(HostName::parse("bücher.example").is_err());
/// # Ok::<(), registry_core::service::InvalidHostName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// Error for a text that is not a [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a host is a DNS name in ASCII or an address, possibly with a port, such as `example.com:5000`"
)]
pub struct InvalidHostName(());

impl HostName {
    /// Parses a name or an address, possibly with a port.
    ///
    /// # Errors
    ///
    /// [`InvalidHostName`] if it is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidHostName> {
        let invalid = InvalidHostName(());
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(invalid)?;
            let address: Ipv6Addr = address.parse().ok().ok_or(invalid)?;
            let port = match port {
                "" => "",
                port => port.strip_prefix(':').ok_or(invalid)?,
            };
            return match is_port(port) {
                true => Ok(Self(format!("[{address}]").into())),
                false => Err(invalid),
            };
        }
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.len() <= LONGEST && name.split('.').all(is_label) && is_port(port) {
            Ok(Self(name.to_ascii_lowercase().into()))
        } else {
            Err(invalid)
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host that a request is for, or `None` if it names none.
    ///
    /// The target of the request counts before the `Host` header: `:authority` of HTTP/2, and the absolute form of
    /// HTTP/1.1 (RFC 9112, section 3.2.2).
    pub(super) fn requested(parts: &Parts, forwarded: bool) -> Result<Option<Self>, InvalidRequest> {
        if let Some(found) = parts.extensions.get() {
            return Ok(Some(Self::clone(found)));
        }
        if forwarded && let Some(reported) = header(&parts.headers, &FORWARDED_HOST)? {
            // The first item is from the proxy that the client is connected to.
            let first = reported.split(',').next().unwrap_or_default().trim();
            return parsed(first, "X-Forwarded-Host").map(Some);
        }
        let named = match header(&parts.headers, &header::HOST)? {
            None | Some("") => None,
            Some(text) => Some(parsed(text, "Host")?),
        };
        let Some(authority) = parts.uri.authority() else {
            return Ok(named);
        };
        let target = parsed(authority.as_str(), "Host")?;
        // RFC 9113, section 8.3.1. HTTP/1.1 ignores `Host` instead.
        if parts.version >= Version::HTTP_2 && named.is_some_and(|named| named != target) {
            return Err(InvalidRequest::Header {
                name: "Host",
                expected: "the host of `:authority`, or no Host at all",
            });
        }
        Ok(Some(target))
    }
}

fn parsed(text: &str, name: &'static str) -> Result<HostName, InvalidRequest> {
    HostName::parse(text).map_err(|InvalidHostName(())| InvalidRequest::Header {
        name,
        expected: "a DNS name in ASCII or an address, possibly with a port",
    })
}

/// Returns the value of a header, which must not be repeated: two programs could believe two different values.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, InvalidRequest> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(InvalidRequest::Header {
            name: if *name == header::HOST {
                "Host"
            } else {
                "X-Forwarded-Host"
            },
            expected: "one header with the name of a host",
        }),
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// Returns true for a part of a DNS name. Underscores are not allowed in names of hosts, but in use.
fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        Self::parse(text)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_name_one_host_are_equal() {
        for (text, host) in [
            ("a.example", "a.example"),
            ("A.EXAMPLE:443", "a.example"),
            ("a.example.", "a.example"),
            ("a.example.:80", "a.example"),
            ("a.example:", "a.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("my_registry:5000", "my_registry"),
            ("127.0.0.1:5000", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::1]:443", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
        ] {
            assert_eq!(HostName::parse(text).unwrap().as_str(), host, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["abcdefgh"; 29].join(".");
        for text in [
            "",
            ".",
            ":80",
            "a..example",
            "a.example..",
            ".a.example",
            "a b",
            "a.example/v2",
            "ann@a.example",
            "a.example:8x",
            "a.example:65536",
            "a.example:80:80",
            "a.example:+80",
            "-a.example",
            "a-.example",
            "bücher.example",
            "b%C3%BCcher.example",
            "::1",
            "[::1",
            "[::1]80",
            "[a.example]",
            "[fe80::1%25eth0]",
            "*.example",
            &long,
            &longer,
        ] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
    }
}
