//! [`Gate`]: a point at which exchanges wait until the test opens it.

use std::{fmt, sync::Arc, time::Duration};
use tokio::{sync::watch, time};

/// Time that [`Gate::reached`] waits; only a broken test comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that is closed until the test opens it. It stays open then. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    reached: usize,
    left: usize,
}

impl Gate {
    /// Returns a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    /// Opens the gate for waiting and later exchanges.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Waits until `by` exchanges have reached the gate, for at most a minute; returns true if they have.
    #[must_use]
    pub async fn reached(&self, by: usize) -> bool {
        let mut state = self.0.subscribe();
        let reached = state.wait_for(|state| state.reached >= by);
        matches!(time::timeout(PATIENCE, reached).await, Ok(Ok(_)))
    }

    /// Waits until `by` requests that the store received when the gate opened were answered, for at most a minute; returns
    /// true if they were. [`Fault::AnswerBeforeEffect`](super::Fault) and [`Fault::Double`](super::Fault) send such requests.
    #[must_use]
    pub async fn left(&self, by: usize) -> bool {
        let mut state = self.0.subscribe();
        let left = state.wait_for(|state| state.left >= by);
        matches!(time::timeout(PATIENCE, left).await, Ok(Ok(_)))
    }

    /// Counts a request that was answered after the gate.
    pub(super) fn leave(&self) {
        self.0.send_modify(|state| state.left += 1);
    }

    /// Counts an exchange, and waits until the gate is open.
    pub(super) async fn pass(&self) {
        self.0.send_modify(|state| state.reached += 1);
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { open, reached, left } = *self.0.borrow();
        f.debug_struct("Gate")
            .field("open", &open)
            .field("reached", &reached)
            .field("left", &left)
            .finish()
    }
}
