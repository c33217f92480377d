//! [`Rule`]: a [`Fault`], and the exchanges that it happens to.

use super::{gate::Gate, record::Exchange, side::Side};
use http::{HeaderName, HeaderValue};
use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

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
///
/// ```
/// use http::{Method, header};
/// use registry_test::tap::{Fault, Rule, Side};
///
/// // Cut the first two chunks of a push after 100 000 bytes.
/// let cut = Fault::Cut { side: Side::Request, after: 100_000 };
/// let twice = Rule::new(cut).when(|exchange| exchange.method == Method::PATCH).times(2);
///
/// // Remove the digest from every response to the pull of a manifest.
/// let digest = header::HeaderName::from_static("docker-content-digest");
/// let bare = Rule::new(Fault::RemoveHeader(digest)).when(|exchange| exchange.target.contains("/manifests/"));
/// ```
pub struct Rule {
    pub(super) fault: Fault,
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

    pub(super) fn applies_to(&self, exchange: &Exchange) -> bool {
        (self.applies)(exchange)
    }

    /// Counts one more fault; returns true if it may happen.
    pub(super) fn take(&self) -> bool {
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
