//! [`Builder`]: the settings of a [`TestRegistry`].

use super::{TestRegistry, front::Front, server::Server};
use crate::{
    login::Login,
    quirk::{Quirk, Quirks},
    seed::Seed,
    tap::Tap,
};
use http::uri::Authority;
use registry_core::{Registry, Storage, storage::MemoryStorage};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
};

/// Builder for a [`TestRegistry`], created by [`TestRegistry::builder`].
///
/// ```
/// use registry_core::storage::MemoryStorage;
/// use registry_test::TestRegistry;
/// use std::net::Ipv6Addr;
///
/// let storage = MemoryStorage::new();
/// let registry = TestRegistry::builder().storage(storage.clone()).start();
/// # drop(registry);
/// # let _ = TestRegistry::builder().bind(Ipv6Addr::LOCALHOST.into());
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder {
    storage: Arc<dyn Storage>,
    address: IpAddr,
    port: u16,
    host: Option<String>,
    pub(super) login: Login,
    read_only: bool,
    pub(super) quirks: Vec<Quirk>,
    pub(super) seeds: Vec<(String, Seed)>,
    #[cfg(feature = "tls")]
    pub(super) tls: crate::tls::TlsSettings,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            storage: Arc::new(MemoryStorage::new()),
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            host: None,
            login: Login::default(),
            read_only: false,
            quirks: Vec::new(),
            seeds: Vec::new(),
            #[cfg(feature = "tls")]
            tls: crate::tls::TlsSettings::default(),
        }
    }
}

impl Builder {
    /// Sets the storage, for example one that a later registry continues with. The default is a new storage in memory.
    pub fn storage(self, storage: impl Storage) -> Self {
        Self {
            storage: Arc::new(storage),
            ..self
        }
    }

    /// Sets the IP address to listen on. The default is `127.0.0.1`; another one may be needed by clients in containers
    /// or virtual machines. With `0.0.0.0` or `::`, [`TestRegistry::url`] has the loopback address, and a client that
    /// needs a token gets it by the host that it has used itself.
    pub fn bind(self, address: IpAddr) -> Self {
        Self { address, ..self }
    }

    /// Sets the name or the IP address by which clients reach the registry. Its URL, references to images, the files for
    /// other programs and the certificate have this name. The default is the address to listen on.
    ///
    /// ```
    /// use registry_test::TestRegistry;
    ///
    /// let registry = TestRegistry::builder().host("localhost").start();
    /// assert_eq!(registry.url(), format!("http://localhost:{}", registry.addr().port()));
    /// ```
    pub fn host(self, name: impl Into<String>) -> Self {
        Self {
            host: Some(name.into()),
            ..self
        }
    }

    /// Sets the port to listen on. The default, 0, is a free one, so that tests may run at the same time.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Refuses every change by clients: 405 `UNSUPPORTED`. Seeds and changes [in process](TestRegistry::registry) are
    /// possible.
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Starts the registry. It accepts requests when this function returns.
    ///
    /// # Panics
    ///
    /// If the registry cannot be started, with the reason and advice. [`try_start`](Self::try_start) returns the error
    /// instead.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> TestRegistry {
        let address = SocketAddr::new(self.address, self.port);
        let error = match self.try_start() {
            Ok(registry) => return registry,
            Err(error) => error,
        };
        let advice = match error.kind() {
            // The error names the setting.
            io::ErrorKind::InvalidInput => "",
            io::ErrorKind::AddrInUse => {
                "; the port is in use: stop the other program, or leave out `Builder::port` for a free one"
            }
            _ => {
                "; check that the address belongs to this machine and that the process may open more files \
                 (`ulimit -n`), or use `Builder::try_start`"
            }
        };
        panic!("cannot start a test registry on {address}: {error}{advice}")
    }

    /// Starts the registry. It accepts requests when this function returns.
    ///
    /// # Errors
    ///
    /// An error of binding the address, of starting a thread, or of a seed.
    pub fn try_start(self) -> io::Result<TestRegistry> {
        let Self {
            storage,
            address,
            port,
            host,
            mut login,
            read_only,
            quirks,
            seeds,
            #[cfg(feature = "tls")]
            tls,
        } = self;
        let listener = TcpListener::bind((address, port))?;
        let reached = reached(listener.local_addr()?);
        login.any_host = address.is_unspecified() && host.is_none();
        let name = host.unwrap_or_else(|| reached.ip().to_string());
        let host = with_port(&name, reached.port())?;
        #[cfg(feature = "tls")]
        let (certificates, encryption) = tls.certificates(vec![name, reached.ip().to_string()])?;
        #[cfg(not(feature = "tls"))]
        let encryption = None;
        let scheme = if encryption.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{host}");
        let (mut registry, users) = login.apply(Registry::builder(storage), &url);
        if read_only {
            registry = registry.read_only();
        }
        let quirks = Quirks::new(quirks);
        if quirks.has(Quirk::WithoutDelete) {
            registry = registry.without_deletion();
        }
        let registry = registry.build();
        let server = Server::start(Front::new(registry.clone(), users.tokens.clone(), quirks))?;
        let tap = Tap::listen_encrypted(listener, server.address(), encryption)?;
        if let Some(tokens) = users.tokens.clone() {
            tap.set_expire(move || tokens.expire());
        }
        let registry = TestRegistry {
            url,
            host,
            #[cfg(feature = "tls")]
            certificates,
            registry,
            users,
            files: OnceLock::new(),
            tap,
            server,
        };
        for (name, seed) in seeds {
            registry
                .try_seed(&name, seed)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        Ok(registry)
    }
}

impl TestRegistry {
    /// Starts a registry in memory, on a free port of the loopback interface. It accepts requests when this function
    /// returns.
    ///
    /// # Panics
    ///
    /// If no port can be bound, or no thread started. [`Builder::try_start`] returns the error instead.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder for a registry with a storage, an address or users of your own.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Returns the address by which clients on this machine reach a listener.
fn reached(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if bound.ip().is_unspecified() {
        address.set_ip(match bound {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Returns the host of URLs, for a name or an IP address.
fn with_port(name: &str, port: u16) -> io::Result<String> {
    if let Ok(address) = name.parse() {
        return Ok(SocketAddr::new(address, port).to_string());
    }
    let host = format!("{name}:{port}");
    match host.parse::<Authority>() {
        Ok(parsed) if parsed.host() == name && !name.is_empty() => Ok(host),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{name:?} is no host; write a name such as `registry.test`, or an IP address, without a port"
            ),
        )),
    }
}
