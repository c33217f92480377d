//! [`Clock`]: the time, as the host tells it.

use async_trait::async_trait;
use std::time::{Duration, SystemTime};

/// Clock of the host. The core has none.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> SystemTime;

    /// Returns the time since the boot of the machine, including the time that it was suspended. `None` if the host does
    /// not know it: then no tag is dropped because of its age.
    fn since_boot(&self) -> Option<Duration> {
        None
    }

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}
