//! [`Gate`]: a point at which an exchange waits until the test lets it continue.

use super::{
    patience::{SILENCE, lock},
    wake::Wake,
};
use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    time::Duration,
};

/// A gate that is closed until the test opens it. It stays open then. Clones are the same gate.
///
/// ```
/// use registry_test::{fault::{on_any, stall}, tap::{Gate, Side, Tap}};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registry = registry()?;
///
/// let tap = Tap::start(registry)?;
/// let gate = Gate::new();
/// tap.fault(on_any().always(), stall(Side::Response).until(&gate));
///
/// // A client requests `/v2/` of the tap. Its response is held at the gate.
/// # let address = tap.address();
/// # let client = std::thread::spawn(move || client(address));
/// assert!(gate.reached(1));
/// assert_eq!(tap.exchanges()[0].status(), None);
///
/// // Let it pass.
/// gate.open();
/// # client.join().unwrap()?;
/// assert_eq!(tap.exchanges()[0].status(), Some(200));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    reached: usize,
    waiting: Vec<Weak<Wake>>,
}

impl Gate {
    /// Returns a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for waiting and later exchanges.
    pub fn open(&self) {
        let mut state = lock(&self.0.state);
        state.open = true;
        let waiting = std::mem::take(&mut state.waiting);
        // A waiting thread locks the gate to check it.
        drop(state);
        for connection in waiting.iter().filter_map(Weak::upgrade) {
            connection.notify();
        }
    }

    /// Waits until `by` exchanges have reached the gate, for at most a minute; returns true if they have.
    #[must_use]
    pub fn reached(&self, by: usize) -> bool {
        let state = lock(&self.0.state);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, SILENCE, |state| state.reached < by);
        waited.unwrap_or_else(PoisonError::into_inner).0.reached >= by
    }

    /// Counts an exchange that has reached the gate.
    pub(super) fn reach(&self) {
        lock(&self.0.state).reached += 1;
        self.0.changed.notify_all();
    }

    /// Waits until the gate is open, for at most `time`; returns true if it is. The wait ends with the connection, and
    /// with `client` also when the client sends no more.
    pub(super) fn opens_within(&self, time: Duration, connection: &Arc<Wake>, client: bool) -> bool {
        lock(&self.0.state).waiting.push(Arc::downgrade(connection));
        connection.wait(time, |ending| {
            ending.closed || (client && ending.client) || self.is_open()
        });
        self.is_open()
    }

    fn is_open(&self) -> bool {
        lock(&self.0.state).open
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("Gate")
            .field("open", &state.open)
            .field("reached", &state.reached)
            .finish()
    }
}
