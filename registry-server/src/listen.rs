//! Addresses to listen on, as registry:2 spells them: `:5000` stands for all addresses of IPv6 and IPv4.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// Address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Name or address; `None` for all addresses.
    pub(crate) host: Option<String>,
    /// Port; 0 for a free one.
    pub(crate) port: u16,
}

impl Listen {
    /// Parses `HOST:PORT`, `:PORT` or `[ADDRESS]:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let malformed =
            || "must be an address and a port such as `:5000`, `127.0.0.1:5000` or `[::1]:5000`".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains([':', '[', ']']) {
            return Err(malformed());
        }
        let host = bracketed.unwrap_or(host);
        Ok(Self {
            host: (!host.is_empty()).then(|| host.to_owned()),
            port: port.parse().ok().ok_or_else(malformed)?,
        })
    }
}

impl Listen {
    /// Returns the address to connect to from the same machine.
    pub(crate) fn locally(&self) -> Self {
        let host = match self.host.as_deref() {
            None | Some("0.0.0.0") => "127.0.0.1",
            Some("::") => "::1",
            Some(host) => host,
        };
        Self {
            host: Some(host.to_owned()),
            ..*self
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// Listens on an address, or on all addresses of IPv6 and IPv4, or of IPv4 alone if IPv6 is disabled.
pub(crate) async fn bind(address: &Listen) -> io::Result<TcpListener> {
    if let Some(host) = &address.host {
        return TcpListener::bind((host.as_str(), address.port)).await;
    }
    match listen_on_both(address.port) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
            ) =>
        {
            tracing::debug!(%error, "IPv6 is off");
            TcpListener::bind(("0.0.0.0", address.port)).await
        }
        both => both,
    }
}

/// Listens on all addresses of IPv6 and IPv4, regardless of the system's `bindv6only`.
fn listen_on_both(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn all_addresses_are_loopback_locally() {
        for (listen, locally) in [
            (":5000", "127.0.0.1:5000"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
            ("localhost:5000", "localhost:5000"),
        ] {
            assert_eq!(Listen::parse(listen).unwrap().locally().to_string(), locally);
        }
    }

    #[test]
    fn addresses_are_spelled_as_registry_2_does() {
        for (text, host, port) in [
            (":5000", None, 5000),
            ("127.0.0.1:0", Some("127.0.0.1"), 0),
            ("localhost:80", Some("localhost"), 80),
            ("[::1]:5000", Some("::1"), 5000),
        ] {
            let listen = Listen::parse(text).unwrap();
            assert_eq!((listen.host.as_deref(), listen.port), (host, port), "{text}");
            assert_eq!(listen.to_string(), text);
        }
        for text in [
            "",
            "5000",
            "localhost",
            "::1:5000",
            ":http",
            ":65536",
            "[::1:5000",
            "a]:1",
        ] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn all_addresses_are_those_of_ipv4_too() {
        let listener = bind(&Listen { host: None, port: 0 }).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
}
