//! The client-fault tap: a proxy that records the exchanges between a client and a registry, and injects faults for a
//! test.
//!
//! No specification states what a client needs of a registry, or does when the network fails. The tap between the two
//! shows it. The registry is started on one loopback port, and the client is given the port of the tap.
//!
//! ```
//! use http::Method;
//! use registry_testkit::tap::{Fault, Rule, Side, Tap};
//!
//! # fn main() -> std::io::Result<()> {
//! # let registry = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let registry = registry.local_addr()?;
//! let tap = Tap::start(registry)?;
//! // The first two PATCH requests end after 100 000 bytes, with both connections closed.
//! let cut = Fault::Cut { side: Side::Request, after: 100_000 };
//! tap.add(Rule::new(cut).when(|exchange| exchange.method == Method::PATCH).times(2));
//! // … a client pushes to `tap.address()` …
//! let patches = tap.exchanges().into_iter().filter(|exchange| exchange.method == Method::PATCH);
//! # assert_eq!(patches.count(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! The tap uses HTTP/1 without TLS, on threads of its own, and needs no runtime. It changes nothing without a rule:
//! heads, chunks and the order of bytes pass as received, at once. Other protocols (a TLS greeting on a plain port,
//! HTTP/2 by prior knowledge) pass through unrecorded. An exchange is recorded before its bytes are passed on, so
//! everything that a client has seen is on record when it ends.

mod connection;
mod gate;
mod message;
mod record;

pub use self::{
    gate::Gate,
    record::{Exchange, Reply},
};

use self::connection::Connection;
use http::{HeaderName, HeaderValue};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Maximum time without bytes from one side before its connection is closed: a safety net for tests that hang.
const SILENCE: Duration = Duration::from_secs(60);

/// One half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request of the client.
    Request,
    /// The answer of the registry.
    Response,
}

/// A fault that is injected into an exchange.
///
/// A position (`after`) counts bytes of the body, without the framing of chunks. Position 0 is before the head: a
/// request that is cut there never reaches the registry. An answer that is cut there never reaches the client, though
/// the registry has acted. A body without a byte beyond the position passes whole, and the fault does not happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Closes the connections to both sides once `after` bytes have passed. The client reads the end of the stream,
    /// and further bytes from it are lost.
    Cut {
        /// The half to cut.
        side: Side,
        /// Number of bytes of the body that still pass.
        after: u64,
    },
    /// Holds the following bytes until the gate opens; if it stays closed for a minute, the connections are closed.
    Hold {
        /// The half to hold.
        side: Side,
        /// Number of bytes of the body that pass before.
        after: u64,
        /// The gate that is waited for.
        gate: Gate,
    },
    /// Removes every line of this header from the answer. A body without its `Content-Length` is sent in chunks.
    RemoveHeader(HeaderName),
    /// Replaces all lines of this header in the answer by this one.
    SetHeader(HeaderName, HeaderValue),
}

/// A fault, the exchanges that it applies to, and the number of times.
pub struct Rule {
    fault: Fault,
    applies: Box<dyn Fn(&Exchange) -> bool + Send + Sync>,
    left: AtomicUsize,
}

impl Rule {
    /// Returns a rule with a fault for every exchange.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            applies: Box::new(|_| true),
            left: AtomicUsize::new(usize::MAX),
        }
    }

    /// Restricts the rule to exchanges that satisfy `applies`. It is called when the request's head has arrived, so
    /// the exchange has neither a body nor an answer yet.
    #[must_use]
    pub fn when(mut self, applies: impl Fn(&Exchange) -> bool + Send + Sync + 'static) -> Self {
        self.applies = Box::new(applies);
        self
    }

    /// Limits how many times the fault happens. Only faults that really happen are counted.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = AtomicUsize::new(times);
        self
    }

    /// Counts one more fault; returns true if it may happen.
    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("fault", &self.fault)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// A running tap. Dropping it closes every connection.
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// State shared by the tap and its connections.
struct Shared {
    upstream: SocketAddr,
    ended: AtomicBool,
    rules: Mutex<Vec<Arc<Rule>>>,
    exchanges: Mutex<Vec<Arc<Mutex<Exchange>>>>,
    connections: Mutex<Vec<Weak<Connection>>>,
}

impl Tap {
    /// Listens on a free loopback port and forwards connections to the registry at `upstream`.
    ///
    /// # Errors
    ///
    /// An error of listening. The registry need not be running yet.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            ended: AtomicBool::new(false),
            rules: Mutex::default(),
            exchanges: Mutex::default(),
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
        lock(&self.shared.rules).push(Arc::new(rule));
    }

    /// Removes all rules; exchanges that are held or cut already stay so.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Returns the recorded exchanges, in the order in which their requests began.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        let exchanges = lock(&self.shared.exchanges);
        exchanges.iter().map(|exchange| lock(exchange).clone()).collect()
    }

    /// Returns the exchanges recorded since the last call, in the order in which their requests began.
    #[must_use]
    pub fn take(&self) -> Vec<Exchange> {
        let exchanges = std::mem::take(&mut *lock(&self.shared.exchanges));
        exchanges.iter().map(|exchange| lock(exchange).clone()).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The acceptor looks at `ended` when somebody comes.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            // One that panicked has accepted nothing more.
            let _ = acceptor.join();
        }
        for connection in lock(&self.shared.connections).drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.close();
            }
        }
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
            // A client that is gone already, or a registry that is not there: the client sees its connection closed.
            let Ok(connection) = client.and_then(|client| Connection::open(number, client, self.upstream))
            else {
                continue;
            };
            let connection = Arc::new(connection);
            let mut connections = lock(&self.connections);
            connections.retain(|connection| connection.strong_count() > 0);
            connections.push(Arc::downgrade(&connection));
            drop(connections);
            let shared = Arc::clone(self);
            thread::spawn(move || connection.run(&shared));
        }
    }

    /// Records an exchange that begins, with the rules that apply to it.
    fn record(&self, exchange: Exchange) -> (Arc<Mutex<Exchange>>, Vec<Arc<Rule>>) {
        let rules = lock(&self.rules)
            .iter()
            .filter(|rule| (rule.applies)(&exchange))
            .map(Arc::clone)
            .collect();
        let exchange = Arc::new(Mutex::new(exchange));
        lock(&self.exchanges).push(Arc::clone(&exchange));
        (exchange, rules)
    }
}

/// Locks data that no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
