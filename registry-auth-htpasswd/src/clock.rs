//! Time since the file was opened.

use std::time::Duration;
use tokio::time::Instant;

/// Clock that counts from its creation. It is read on the async runtime, where it stands still under tokio's paused
/// time, and not on other threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Duration {
        self.start.elapsed()
    }
}

/// Returns a time in milliseconds, as atomics hold it.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
