//! The client-fault tap: a proxy that records the exchanges between a client and a registry, and injects faults for a
//! test.
//!
//! No specification states what a client needs of a registry, or does when the network fails. The tap between the two
//! shows it. Start the registry on one loopback port, and give the client the port of the tap.
//!
//! ```
//! use registry_test::{fault::{cut, on_any}, tap::{Side, Tap}};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = registry()?;
//!
//! // `registry` is the address of a registry.
//! let tap = Tap::start(registry)?;
//!
//! // Close both connections before the first response.
//! tap.fault(on_any(), cut(Side::Response));
//!
//! // A client requests `/v2/` of the tap, twice.
//! assert_eq!(client(tap.address())?, "");
//! assert!(client(tap.address())?.starts_with("HTTP/1.1 200"));
//!
//! let [cut, passed] = &tap.exchanges()[..] else {
//!     return Err("there were two requests".into());
//! };
//! assert_eq!((cut.status(), cut.cut), (None, Some(Side::Response)));
//! assert_eq!((passed.status(), passed.cut), (Some(200), None));
//! # Ok(())
//! # }
//! ```
//!
//! The tap uses HTTP/1 without TLS, on threads of its own, and needs no runtime. It changes nothing without a rule:
//! heads, chunks and the order of bytes pass as received, at once. Other protocols (a TLS greeting on a plain port,
//! HTTP/2 by prior knowledge) pass through unrecorded. An exchange is recorded before its bytes are passed on, so
//! everything that a client has seen is on record when it ends.

mod acceptor;
mod activity;
mod answer;
mod canned;
mod client;
mod connection;
mod detour;
mod encryption;
pub(crate) mod fault;
mod gate;
mod journal;
mod message;
pub(crate) mod on;
mod ongoing;
mod patience;
mod port;
mod record;
mod rule;
mod side;
mod wake;

pub use self::{
    fault::Fault,
    gate::Gate,
    on::On,
    record::{Exchange, Reply},
    rule::{Handle, Rule},
    side::Side,
};

#[cfg(feature = "tls")]
pub(crate) use self::encryption::Session;
pub(crate) use self::{encryption::Encryption, patience::lock};

use self::{acceptor::Acceptor, connection::Connection, fault::Token, journal::Journal, port::Port};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A running tap. Dropping it closes every connection.
pub struct Tap {
    shared: Arc<Shared>,
    port: Port,
    /// The acceptor of the second host, once a fault needs it.
    other: Mutex<Option<Acceptor>>,
}

/// State shared by the tap and its connections.
struct Shared {
    upstream: SocketAddr,
    encryption: Option<Arc<dyn Encryption>>,
    journal: Journal,
    connections: Mutex<Vec<(Weak<Connection>, JoinHandle<()>)>>,
    next: AtomicUsize,
}

impl Tap {
    /// Listens on a free loopback port and forwards connections to the registry at `upstream`.
    ///
    /// # Errors
    ///
    /// An error of listening. The registry need not be running yet.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::listen(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, upstream)
    }

    /// Accepts connections from `listener` and forwards them to the registry at `upstream`.
    ///
    /// # Errors
    ///
    /// An error of the listener, or of starting a thread.
    pub fn listen(listener: TcpListener, upstream: SocketAddr) -> io::Result<Self> {
        Self::listen_encrypted(listener, upstream, None)
    }

    /// Accepts encrypted connections from `listener` and forwards their content to the registry at `upstream`.
    pub(crate) fn listen_encrypted(
        listener: TcpListener,
        upstream: SocketAddr,
        encryption: Option<Arc<dyn Encryption>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            journal: Journal::new(encryption.is_some()),
            encryption,
            connections: Mutex::default(),
            next: AtomicUsize::new(0),
        });
        let port = Port::new(address, shared.accept(listener, false)?);
        Ok(Self {
            shared,
            port,
            other: Mutex::default(),
        })
    }

    /// Returns the address at which clients reach the registry through the tap.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Adds a fault, for exchanges that begin from now on. Several may happen to one exchange.
    ///
    /// # Panics
    ///
    /// If the fault leads to the second host, and no port is free for it; if tokens have to expire, and there are none.
    #[track_caller]
    pub fn fault(&self, on: On, fault: impl Into<Fault>) -> Handle {
        self.add((on, fault))
    }

    /// Adds a rule, for exchanges that begin from now on. Several may apply to one exchange.
    ///
    /// # Panics
    ///
    /// If the fault leads to the second host, and no port is free for it; if tokens have to expire, and there are none.
    #[track_caller]
    pub fn add(&self, rule: impl Into<Rule>) -> Handle {
        let rule = Arc::new(rule.into());
        if answer::needs_other_host(&rule.fault)
            && let Err(error) = self.open_other_host()
        {
            panic!("cannot start the second host for `{rule}`: {error}; close some programs that listen");
        }
        assert!(
            !matches!(rule.fault, Fault::Token(Token::Expire)) || self.shared.journal.expire.get().is_some(),
            "`{rule}` has no tokens to expire: start the registry with `.bearer(user, password)`, or call \
             `Tap::set_expire`"
        );
        lock(&self.shared.journal.rules).push(Arc::clone(&rule));
        Handle(rule)
    }

    /// Returns the rules that were added and not cleared since.
    #[must_use]
    pub fn rules(&self) -> Vec<Handle> {
        let rules = lock(&self.shared.journal.rules);
        let handles = rules.iter().map(Arc::clone).map(Handle);
        handles.filter(|rule| !rule.is_cleared()).collect()
    }

    /// Ends all rules; exchanges that are held or cut already stay so.
    pub fn clear(&self) {
        let rules = std::mem::take(&mut *lock(&self.shared.journal.rules));
        rules.into_iter().for_each(|rule| Handle(rule).clear());
    }

    /// Closes all connections, as the death of the registry would. Later connections are accepted.
    pub fn disconnect(&self) {
        self.disconnect_by(|| ());
    }

    /// Calls a function that ends the registry's connections, and closes all that there were before.
    ///
    /// A client whose connection ends may be quick to open another one, which stays.
    pub(crate) fn disconnect_by<T>(&self, end: impl FnOnce() -> T) -> T {
        let open: Vec<_> = lock(&self.shared.connections)
            .iter()
            .filter_map(|(connection, _)| connection.upgrade())
            .collect();
        let ended = end();
        for connection in open {
            connection.close();
        }
        ended
    }

    /// Refuses connections from now on, and ends all that there are, as the death of the registry does. The port stays the
    /// tap's own.
    ///
    /// # Errors
    ///
    /// An error of the system, which has to bind the port again.
    pub fn refuse_connections(&self) -> io::Result<()> {
        self.port.refuse()?;
        self.disconnect();
        Ok(())
    }

    /// Accepts connections again after [`refuse_connections`](Self::refuse_connections).
    ///
    /// # Errors
    ///
    /// An error of the system, which has to listen on the port again.
    pub fn accept_connections(&self) -> io::Result<()> {
        self.port.accept(|listener| self.shared.accept(listener, false))
    }

    /// Sets the function that ends the validity of all tokens of the registry, for
    /// [`Token::Expire`]. Only the first call counts.
    pub fn set_expire(&self, expire: impl Fn() + Send + Sync + 'static) {
        // A second function would be of the same registry.
        let _ = self.shared.journal.expire.set(Box::new(expire));
    }

    /// Listens on the port of the second host, on the same address.
    fn open_other_host(&self) -> io::Result<()> {
        let mut other = lock(&self.other);
        if other.is_none() {
            let listener = TcpListener::bind((self.address().ip(), 0))?;
            // It cannot be set already.
            let _ = self.shared.journal.detours.other.set(listener.local_addr()?);
            *other = Some(self.shared.accept(listener, true)?);
        }
        drop(other);
        Ok(())
    }

    /// Returns the recorded exchanges, in the order in which their requests began.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        let exchanges = lock(&self.shared.journal.exchanges);
        exchanges.iter().map(|exchange| lock(exchange).clone()).collect()
    }

    /// Returns the exchanges recorded since the last call, in the order in which their requests began.
    #[must_use]
    pub fn take(&self) -> Vec<Exchange> {
        let exchanges = std::mem::take(&mut *lock(&self.shared.journal.exchanges));
        exchanges.iter().map(|exchange| lock(exchange).clone()).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // The ends of the acceptors need a free descriptor.
        self.disconnect();
        self.port.end();
        drop(lock(&self.other).take());
        self.disconnect();
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for (_, thread) in connections {
            // A condition of the test may have been the last owner of the tap.
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked, by a condition of the test, has ended too.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("address", &self.address())
            .field("upstream", &self.shared.upstream)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: TcpListener, other_host: bool) -> io::Result<Acceptor> {
        let shared = Arc::clone(self);
        Acceptor::start(listener, move |client| shared.connect(client, other_host))
    }

    fn connect(self: &Arc<Self>, client: TcpStream, other_host: bool) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // If the client has left, the connection is closed.
        let Ok(connection) = self.open(number, client, other_host) else {
            return;
        };
        let connection = Arc::new(connection);
        let weak = Arc::downgrade(&connection);
        let shared = Arc::clone(self);
        let run = move || connection.run(shared.upstream, &shared.journal);
        let mut connections = lock(&self.connections);
        connections.retain(|(connection, _)| connection.strong_count() > 0);
        if let Ok(thread) = thread::Builder::new().name("tap".into()).spawn(run) {
            connections.push((weak, thread));
        }
    }

    fn open(&self, number: usize, client: TcpStream, other_host: bool) -> io::Result<Connection> {
        let session = self
            .encryption
            .as_ref()
            .map(|encryption| encryption.begin())
            .transpose()?;
        Connection::new(number, other_host, client, session)
    }
}

#[cfg(test)]
mod tests;
