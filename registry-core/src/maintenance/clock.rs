//! [`Clock`]: the time, as the host tells it.

use async_trait::async_trait;
use std::time::{Duration, SystemTime};

/// Clock of the host. The core has none.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> SystemTime;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}
