//! [`Target`]: whom to ask.

use axum::http::{Uri, uri::Authority};
use std::{fmt, path::PathBuf};

/// Where a registry says whether it is there.
const BASE: &str = "/v2/";

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    url: String,
    transport: Transport,
    authority: Authority,
    path: String,
    /// Whether only some may connect there, so that a refusal is an answer like others.
    pub(super) may_refuse: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
    /// Over a socket with this path.
    Unix(PathBuf),
}

impl Target {
    /// Reads `http://HOST:PORT`, `https://…`, or, as nginx spells it, `unix:SOCKET:PATH`; without a path it means the
    /// registry's base, `/v2/`.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        if let Some(socket) = url.strip_prefix("unix:") {
            let (socket, path) = match socket.split_once(":/") {
                Some((socket, path)) => (socket, format!("/{path}")),
                None => (socket, BASE.to_owned()),
            };
            return Ok(Self {
                url: url.to_owned(),
                transport: Transport::Unix(socket.into()),
                authority: Authority::from_static("localhost"),
                path,
                may_refuse: false,
            });
        }
        let malformed = || format!("{url:?} is not a URL such as http://127.0.0.1:5000");
        let uri: Uri = url.parse().or(Err(malformed()))?;
        let transport = match uri.scheme_str() {
            Some("http") => Transport::Plain,
            Some("https") => Transport::Tls,
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?.clone();
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => BASE,
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

    /// As the resolver takes it: an IPv6 address without its brackets.
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

/// The URL as it was given.
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
            let target = Target::parse(url).unwrap();
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
            let target = Target::parse(url).unwrap();
            assert_eq!(target.transport(), &Transport::Unix("/run/r.sock".into()));
            assert_eq!(target.path(), path);
        }
        for url in ["", "127.0.0.1:5000", "/v2/", "ftp://x", "http://"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
