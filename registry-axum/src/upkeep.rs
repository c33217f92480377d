//! [`upkeep`]: the recurring maintenance of a registry, on tokio's clock.

use async_trait::async_trait;
use registry_core::{Registry, maintenance::Clock};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

/// Runs all recurring maintenance of a registry as long as it is polled, with the default schedules: abandoned
/// upload sessions end. Without it they stay for ever, and count against the limits of all pushes.
///
/// ```no_run
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # async fn run() {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// tokio::spawn(registry_axum::upkeep(registry.clone()));
/// # }
/// ```
///
/// For other schedules, call [`Registry::upkeep`] and run it with [`TokioClock`].
pub async fn upkeep(registry: Registry) -> Infallible {
    registry.upkeep().run(&TokioClock).await
}

/// Clock for [`Upkeep::run`](registry_core::maintenance::Upkeep::run) in a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
