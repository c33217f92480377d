//! The client-fault tap: a proxy that records the exchanges between a client and a registry, and injects faults for a
//! test.
//!
//! No specification states what a client needs of a registry, or does when the network fails. The tap between the two
//! shows it. Start the registry on one loopback port, and give the client the port of the tap.
//!
//! ```
//! use registry_test::tap::{Fault, Rule, Side, Tap};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = registry()?;
//!
//! // `registry` is the address of a registry.
//! let tap = Tap::start(registry)?;
//!
//! // Close both connections before the first response.
//! tap.add(Rule::new(Fault::Cut { side: Side::Response, after: 0 }).times(1));
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

mod client;
mod connection;
mod encryption;
mod gate;
mod journal;
mod message;
mod patience;
mod record;
mod rule;
mod side;

pub use self::{
    gate::Gate,
    record::{Exchange, Reply},
    rule::{Fault, Rule},
    side::Side,
};

#[cfg(feature = "tls")]
pub(crate) use self::encryption::Session;
pub(crate) use self::{encryption::Encryption, patience::lock};

use self::{connection::Connection, journal::Journal};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A running tap. Dropping it closes every connection.
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// State shared by the tap and its connections.
struct Shared {
    upstream: SocketAddr,
    encryption: Option<Arc<dyn Encryption>>,
    ended: AtomicBool,
    journal: Journal,
    connections: Mutex<Vec<Weak<Connection>>>,
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
            encryption,
            ended: AtomicBool::new(false),
            journal: Journal::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("tap".into())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Returns the address at which clients reach the registry through the tap.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule, for exchanges that begin from now on. Several may apply to one exchange.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.journal.rules).push(Arc::new(rule));
    }

    /// Removes all rules; exchanges that are held or cut already stay so.
    pub fn clear(&self) {
        lock(&self.shared.journal.rules).clear();
    }

    /// Closes all connections, as the death of the registry would. Later connections are accepted.
    pub fn disconnect(&self) {
        for connection in lock(&self.shared.connections).drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.close();
            }
        }
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
        self.shared.ended.store(true, Ordering::SeqCst);
        // The acceptor checks `ended` after each new connection.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            // An acceptor that panicked has ended, too.
            let _ = acceptor.join();
        }
        self.disconnect();
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("address", &self.address)
            .field("upstream", &self.shared.upstream)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for (number, client) in listener.incoming().enumerate() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            // If the client has left, or the registry does not listen, the connection is closed.
            let Ok(connection) = client.and_then(|client| self.open(number, client)) else {
                continue;
            };
            let connection = Arc::new(connection);
            let mut connections = lock(&self.connections);
            connections.retain(|connection| connection.strong_count() > 0);
            connections.push(Arc::downgrade(&connection));
            drop(connections);
            let shared = Arc::clone(self);
            thread::spawn(move || connection.run(&shared.journal));
        }
    }

    fn open(&self, number: usize, client: TcpStream) -> io::Result<Connection> {
        let encryption = self.encryption.as_ref();
        let session = encryption.map(|encryption| encryption.begin()).transpose()?;
        Connection::open(number, client, session, self.upstream)
    }
}

#[cfg(test)]
mod tests;
