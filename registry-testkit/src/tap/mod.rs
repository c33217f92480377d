//! The client-fault tap: a proxy between a client and a registry that records what they say to each other, and
//! breaks it where a test asks for it.
//!
//! What a client needs of a registry, and what it does when the network fails, is no specification: it is seen by
//! putting the tap between the two. The registry is started on one loopback port, the client is given the tap's.
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
//! The tap speaks HTTP/1 without TLS, on threads of its own, and needs no runtime. It changes nothing that no rule
//! names: heads, chunks and the order of bytes pass as they come, at once. What is not HTTP/1 (a TLS greeting on a
//! plain port, HTTP/2 by prior knowledge) passes through unrecorded. An exchange is recorded before its bytes are
//! passed on, so that what a client has seen is on record when it ends.

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

/// How long either side may say nothing before its connection is closed: a net for tests that hang.
const SILENCE: Duration = Duration::from_secs(60);

/// One half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the client sends.
    Request,
    /// What the registry answers.
    Response,
}

/// What goes wrong with an exchange.
///
/// A position (`after`) counts bytes of the body, without the framing of chunks. 0 is before the head: a request
/// that is cut there never reaches the registry, an answer never the client, though the registry has acted. A body
/// that has no byte beyond the position passes whole, and the fault did not happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Closes the connections to both once `after` bytes have passed: the client reads the end of the stream, and
    /// what else it sends is lost.
    Cut {
        /// Which half is cut.
        side: Side,
        /// Bytes of the body that still pass.
        after: u64,
    },
    /// Holds what follows until the gate opens; if it stays shut for a minute, the connections are closed.
    Hold {
        /// Which half is held.
        side: Side,
        /// Bytes of the body that pass before.
        after: u64,
        /// Where it waits.
        gate: Gate,
    },
    /// Removes every line of this header from the answer. A body that loses its `Content-Length` is sent in chunks.
    RemoveHeader(HeaderName),
    /// Puts one line of this header in the place of all that the answer has.
    SetHeader(HeaderName, HeaderValue),
}

/// A fault, the exchanges that it happens to, and how often.
pub struct Rule {
    fault: Fault,
    applies: Box<dyn Fn(&Exchange) -> bool + Send + Sync>,
    left: AtomicUsize,
}

impl Rule {
    /// A fault that happens to every exchange.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            applies: Box::new(|_| true),
            left: AtomicUsize::new(usize::MAX),
        }
    }

    /// Only exchanges whose request is such a one. It is asked when the request's head has come, so that the
    /// exchange has neither a body nor an answer yet.
    #[must_use]
    pub fn when(mut self, applies: impl Fn(&Exchange) -> bool + Send + Sync + 'static) -> Self {
        self.applies = Box::new(applies);
        self
    }

    /// No more than so many times. What counts is that the fault happened, not that it might have.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = AtomicUsize::new(times);
        self
    }

    /// Whether the fault may happen once more; if so, that is counted.
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

/// A running tap. Dropped, it closes every connection.
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the tap and its connections know.
struct Shared {
    upstream: SocketAddr,
    ended: AtomicBool,
    rules: Mutex<Vec<Arc<Rule>>>,
    exchanges: Mutex<Vec<Arc<Mutex<Exchange>>>>,
    connections: Mutex<Vec<Weak<Connection>>>,
}

impl Tap {
    /// Listens on a free loopback port and passes what comes on to the registry at `upstream`.
    ///
    /// # Errors
    ///
    /// As listening does. The registry need not be there yet.
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

    /// Where clients reach the registry through the tap.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule, for exchanges that begin from now on. Several may apply to one exchange.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.rules).push(Arc::new(rule));
    }

    /// Forgets all rules; what is held or cut already stays so.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What has been recorded, in the order in which the requests began.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        let exchanges = lock(&self.shared.exchanges);
        exchanges.iter().map(|exchange| lock(exchange).clone()).collect()
    }

    /// What has been recorded since the last call, in the order in which the requests began.
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

    /// Puts an exchange that begins on record, with the rules that apply to it.
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

/// Locks what no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
