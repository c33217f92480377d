//! [`Gate`]: holds calls until the test opens it.

use std::sync::Arc;
use tokio::sync::watch;

/// Holds calls until the test opens it. All clones are one gate.
///
/// ```
/// use registry_conformance::faulty::{Fault, Faulty, Gate, On};
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = Faulty::new(MemoryStorage::new());
/// let repository = Registry::builder(storage.clone()).build().repository("team/app")?;
///
/// let gate = Gate::new();
/// storage.inject(On::call("commit"), Fault::hold(&gate));
/// let push = tokio::spawn(async move { repository.push_blob("content", None).await });
///
/// // The push is in the storage now. Do what must happen meanwhile, and let it continue.
/// gate.reached(1).await;
/// gate.open();
/// push.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    /// Number of calls that have come to the gate.
    arrived: usize,
}

impl Gate {
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for all calls, also later ones.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Closes the gate for later calls.
    pub fn close(&self) {
        self.0.send_modify(|state| state.open = false);
    }

    /// Waits until `calls` calls have come to the gate since it was created.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn reached(&self, calls: usize) {
        self.until(|state| state.arrived >= calls).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|state| state.arrived += 1);
        self.until(|state| state.open).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool + Send + Sync) {
        // The sender exists as long as `self`, so this is never an error.
        let _ = self.0.subscribe().wait_for(|state| condition(state)).await;
    }
}
