//! [`Gate`]: a point at which an exchange waits until the test lets it continue.

use super::patience::{SILENCE, lock};
use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// A gate that is closed until the test opens it. It stays open then. Clones are the same gate.
///
/// ```
/// use registry_test::tap::{Fault, Gate, Rule, Side, Tap};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registry = registry()?;
///
/// let tap = Tap::start(registry)?;
/// let gate = Gate::new();
/// tap.add(Rule::new(Fault::Hold { side: Side::Response, after: 0, gate: gate.clone() }));
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
}

impl Gate {
    /// Returns a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for waiting and later exchanges.
    pub fn open(&self) {
        lock(&self.0.state).open = true;
        self.0.changed.notify_all();
    }

    /// Waits until `by` exchanges have reached the gate, for at most a minute; returns true if they have.
    #[must_use]
    pub fn reached(&self, by: usize) -> bool {
        self.wait(|state| state.reached >= by)
    }

    /// Reaches the gate and waits until it is open; returns true if it opened within a minute.
    pub(super) fn pass(&self) -> bool {
        lock(&self.0.state).reached += 1;
        self.0.changed.notify_all();
        self.wait(|state| state.open)
    }

    fn wait(&self, met: impl Fn(&State) -> bool) -> bool {
        let state = lock(&self.0.state);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, SILENCE, |state| !met(state));
        met(&waited.unwrap_or_else(PoisonError::into_inner).0)
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
