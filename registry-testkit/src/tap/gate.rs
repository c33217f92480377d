//! [`Gate`]: where an exchange waits until the test lets it go on.

use super::{SILENCE, lock};
use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// A gate that is shut until the test opens it, once and for all. Clones are the same gate.
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
    /// A shut gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through who waits and who comes.
    pub fn open(&self) {
        lock(&self.0.state).open = true;
        self.0.changed.notify_all();
    }

    /// Waits until so many exchanges have come to the gate, for a minute at most; returns whether they have.
    #[must_use]
    pub fn reached(&self, by: usize) -> bool {
        self.wait(|state| state.reached >= by)
    }

    /// Comes to the gate and waits until it is open; returns whether it opened within a minute.
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
