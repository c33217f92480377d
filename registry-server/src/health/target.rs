//! [`Target`]: the server to ask.

use axum::http::{Uri, uri::Authority};
use std::{fmt, path::PathBuf};

/// Path that every registry answers.
pub(super) const BASE: &str = "/v2/";

/// Parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    transport: Transport,
    authority: Authority,
    path: String,
    /// True if only some networks may connect, so that a refusal also shows that the server is alive.
    pub(super) may_refuse: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
    /// Unix socket with this path.
    Unix(PathBuf),
}

impl Target {
    /// Parses `http://HOST:PORT`, `https://…`, or, as nginx spells it, `unix:SOCKET:PATH`. The default path is `base`.
    pub(crate) fn parse(url: &str, base: &str) -> Result<Self, String> {
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
                may_refuse: false,
            });
        }
        let authority = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split('/')
            .next();
        if authority.is_some_and(|authority| authority.contains('@')) {
            // Not shown: there is a password in it.
            return Err("the URL must not contain a user".into());
        }
        let malformed = || format!("{url:?} is not a URL such as http://127.0.0.1:5000");
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
            may_refuse: false,
        })
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Returns the host in the form for the resolver: an IPv6 address is without brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(match self.transport {
            Transport::Plain | Transport::Unix(_) => 80,
            Transport::Tls => 443,
        })
    }

    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Writes the URL as it was given.
impl fmt::Display for Target {
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
            let target = Target::parse(url, BASE).unwrap();
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
            let target = Target::parse(url, BASE).unwrap();
            assert_eq!(target.transport(), &Transport::Unix("/run/r.sock".into()));
            assert_eq!(target.path(), path);
        }
        let error = Target::parse("http://ann:secret@r.example/", BASE).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
        for url in ["", "/v2/", "ftp://x", "http://"] {
            assert!(Target::parse(url, BASE).is_err(), "{url}");
        }
    }
}
