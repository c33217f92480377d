//! [`ServerUrl`]: the address of the server to ask.

use http::{Uri, uri::Authority};
use std::{fmt, path::PathBuf};

/// Parsed address of a server, with the path to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    url: String,
    transport: Transport,
    authority: Authority,
    path: String,
}

/// Transport to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP over TCP.
    Plain,
    /// HTTPS.
    Tls,
    /// HTTP over the Unix socket with this path.
    Unix(PathBuf),
}

/// Reason for which a text is no [`ServerUrl`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServerUrl {
    /// The URL contains a user, and possibly a password. It is not shown.
    #[error("the URL must not contain a user")]
    User,
    /// The text has another form.
    #[error("{url:?} is not a URL such as http://127.0.0.1:5000")]
    #[non_exhaustive]
    Form {
        /// The text.
        url: String,
    },
}

impl ServerUrl {
    /// Parses `http://HOST:PORT`, `https://…`, or, as nginx spells it, `unix:SOCKET:PATH`. The default path is `base`.
    ///
    /// # Errors
    ///
    /// [`InvalidServerUrl`] if it has another form, or contains a user.
    pub fn parse(url: &str, base: &str) -> Result<Self, InvalidServerUrl> {
        if let Some(socket) = url.strip_prefix("unix:") {
            let (socket, path) = match socket.split_once(":/") {
                Some((socket, path)) => (socket, format!("/{path}")),
                None => (socket, base.to_owned()),
            };
            return Ok(Self {
                url: url.to_owned(),
                transport: Transport::Unix(socket.into()),
                authority: Authority::from_static("localhost"),
                path,
            });
        }
        let authority = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split('/')
            .next();
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err(InvalidServerUrl::User);
        }
        let malformed = || InvalidServerUrl::Form { url: url.to_owned() };
        let uri: Uri = url.parse().or(Err(malformed()))?;
        let transport = match uri.scheme_str() {
            // `HOST:PORT` alone.
            None | Some("http") => Transport::Plain,
            Some("https") => Transport::Tls,
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?.clone();
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => base,
            Some(path) => path,
        };
        Ok(Self {
            url: url.to_owned(),
            transport,
            authority,
            path: path.to_owned(),
        })
    }

    /// Returns the transport.
    #[must_use]
    pub const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Returns the host in the form for the resolver: an IPv6 address is without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// Returns the port, by default that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(match self.transport {
            Transport::Plain | Transport::Unix(_) => 80,
            Transport::Tls => 443,
        })
    }

    /// Returns the value of `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns the path to request, with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Writes the URL as it was given.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whom_to_ask_and_what() {
        for (url, transport, host, port, path) in [
            (
                "http://127.0.0.1:5000",
                Transport::Plain,
                "127.0.0.1",
                5000,
                "/v2/",
            ),
            (
                "http://127.0.0.1:5000/",
                Transport::Plain,
                "127.0.0.1",
                5000,
                "/v2/",
            ),
            ("http://localhost", Transport::Plain, "localhost", 80, "/v2/"),
            ("localhost:5000", Transport::Plain, "localhost", 5000, "/v2/"),
            ("https://[::1]", Transport::Tls, "::1", 443, "/v2/"),
            (
                "https://r.example/registry/v2/",
                Transport::Tls,
                "r.example",
                443,
                "/registry/v2/",
            ),
            (
                "http://127.0.0.1:5001/debug/health",
                Transport::Plain,
                "127.0.0.1",
                5001,
                "/debug/health",
            ),
        ] {
            let target = ServerUrl::parse(url, "/v2/").unwrap();
            assert_eq!(target.transport(), &transport, "{url}");
            assert_eq!(
                (target.host(), target.port(), target.path()),
                (host, port, path),
                "{url}"
            );
        }
        for (url, path) in [
            ("unix:/run/r.sock", "/v2/"),
            ("unix:/run/r.sock:/registry/v2/", "/registry/v2/"),
        ] {
            let target = ServerUrl::parse(url, "/v2/").unwrap();
            assert_eq!(target.transport(), &Transport::Unix("/run/r.sock".into()));
            assert_eq!(target.path(), path);
        }
        let error = ServerUrl::parse("http://ann:secret@r.example/", "/v2/")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("secret"), "{error}");
        for url in ["", "/v2/", "ftp://x", "http://"] {
            assert!(ServerUrl::parse(url, "/v2/").is_err(), "{url}");
        }
    }
}
