//! [`upkeep`]: the recurring maintenance of a registry, on tokio's clock.

use async_trait::async_trait;
use registry_core::{Registry, maintenance::Clock};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

/// Runs all recurring maintenance of a registry while it is polled, with the default schedules. It expires abandoned
/// upload sessions. Without it they stay, and count towards the limits of all pushes.
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
/// For another schedule, call [`Registry::upkeep`] and run it with [`TokioClock`].
///
/// # Cancel safety
///
/// Safe: dropping the future stops between two steps.
pub async fn upkeep(registry: Registry) -> Infallible {
    registry.upkeep().run(&TokioClock).await
}

/// Clock for [`Upkeep::run`](registry_core::maintenance::Upkeep::run) in a tokio runtime.
///
/// It does not know the [time since the boot](Clock::since_boot). So no tag is dropped because of its age, and no record of
/// a deletion expires in the first day after a start. A host that needs more implements [`Clock`] itself.
///
/// ```no_run
/// use registry_axum::TokioClock;
/// use registry_core::{Registry, maintenance::UploadExpiry, storage::MemoryStorage};
/// use std::time::Duration;
///
/// # async fn run() {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let hour = Duration::from_secs(3600);
/// // Upload sessions end after a day, by a search once an hour.
/// let upkeep = registry.upkeep().uploads(Some(UploadExpiry::new(24 * hour, hour)));
/// tokio::spawn(async move { upkeep.run(&TokioClock).await });
/// # }
/// ```
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
