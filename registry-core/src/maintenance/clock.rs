//! [`Clock`]: the time, as the host tells it.

use async_trait::async_trait;
use std::time::{Duration, SystemTime};

/// Clock of the host. The core has none.
///
/// # Cancel safety
///
/// Dropping the future of `sleep` ends the wait.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> SystemTime;

    /// Returns the time since the boot of the machine, including the time that it was suspended, or since any other moment
    /// before the start of the work. It must not change with the wall clock, as that of
    /// [`Instant::elapsed`](std::time::Instant::elapsed) does not.
    ///
    /// `None`, the default, if the host does not know it. Then no tag is dropped because of its age, no record of a deletion
    /// expires in the first day after a start, and abandoned upload sessions end by the wall clock alone.
    fn since_boot(&self) -> Option<Duration> {
        None
    }

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}
