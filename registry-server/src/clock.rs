//! [`ServerClock`]: the clock of this machine. [`TrustedClock`] tells if ages can be computed with it.

use async_trait::async_trait;
use registry_axum::TokioClock;
use registry_core::maintenance::{Clock, ClockWatch, Distrust, Notes};
#[cfg(not(target_os = "linux"))]
use std::time::Instant;
use std::time::{Duration, SystemTime};

/// Clock of this machine, which measures the time since its boot, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    #[cfg(not(target_os = "linux"))]
    started: Instant,
}

impl ServerClock {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(not(target_os = "linux"))]
            started: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for ServerClock {
    fn now(&self) -> SystemTime {
        TokioClock.now()
    }

    /// Includes the time that a Linux machine was suspended. On other systems it counts from the start of the clock,
    /// which serves as well to notice that the wall clock was set.
    fn since_boot(&self) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        {
            let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            let seconds = u64::try_from(boot.tv_sec).ok()?;
            let nanoseconds = u32::try_from(boot.tv_nsec).ok()?;
            Some(Duration::new(seconds, nanoseconds))
        }
        #[cfg(not(target_os = "linux"))]
        {
            Some(self.started.elapsed())
        }
    }

    async fn sleep(&self, duration: Duration) {
        TokioClock.sleep(duration).await;
    }
}

/// Clock of this machine, which is watched from the start of the process on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrustedClock {
    clock: ServerClock,
    watch: ClockWatch,
}

impl TrustedClock {
    /// Begins to watch, with the notes of earlier processes.
    pub(crate) async fn start(notes: &dyn Notes) -> Self {
        let clock = ServerClock::start();
        let watch = ClockWatch::from_notes(&clock, notes).await;
        Self { clock, watch }
    }

    /// Returns the current time, if ages may be computed with it.
    pub(crate) fn now(&self) -> Result<SystemTime, Distrust> {
        self.watch.now(&self.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_boot_is_known_and_advances() {
        let clock = ServerClock::start();
        let before = clock.since_boot().unwrap();
        assert!(clock.since_boot().unwrap() >= before);
    }
}
