//! [`Unhurried`]: looks at a storage in small steps with rests between them.

use super::Collections;
use crate::{
    forward_storage,
    maintenance::Clock,
    storage::{Result, StorageInspect},
};
use async_trait::async_trait;
use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Minimum duration of the work between two rests. A timer is too coarse for the rest after less work.
const STEP: Duration = Duration::from_millis(10);
/// Length of a rest, as a multiple of the work before it: requests have three quarters of the time.
const REST: u32 = 3;
/// Maximum length of a rest. The clock may have been set forward during the work.
const LONGEST: Duration = Duration::from_secs(30);

/// Inspection that rests after its calls, for runs beside requests.
pub(super) struct Unhurried<'a> {
    inspect: &'a dyn StorageInspect,
    clock: &'a dyn Clock,
    /// It does not rest while somebody has requested a run.
    collections: Option<&'a Collections>,
    /// Duration of the calls since the last rest.
    worked: Mutex<Duration>,
}

impl<'a> Unhurried<'a> {
    pub(super) fn new(
        inspect: &'a dyn StorageInspect,
        clock: &'a dyn Clock,
        collections: Option<&'a Collections>,
    ) -> Self {
        Self {
            inspect,
            clock,
            collections,
            worked: Mutex::default(),
        }
    }

    /// Makes a call, and rests if that is due.
    pub(super) async fn rested<T: Send>(
        &self,
        _: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let began = self.clock.now();
        let result = call.await;
        let took = self.clock.now().duration_since(began).unwrap_or_default();
        let is_requested = self.collections.is_some_and(Collections::is_requested);
        if let Some(rest) = self.rest_after(took)
            && !is_requested
        {
            self.clock.sleep(rest).await;
        }
        result
    }

    /// Counts a call, and returns the rest that is due.
    fn rest_after(&self, call: Duration) -> Option<Duration> {
        let mut worked = self.worked();
        *worked = worked.saturating_add(call);
        if *worked < STEP {
            return None;
        }
        Some(std::mem::take(&mut *worked).saturating_mul(REST).min(LONGEST))
    }

    fn worked(&self) -> MutexGuard<'_, Duration> {
        self.worked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageInspect for Unhurried<'_> {
    forward_storage! { StorageInspect: self => Some(self.inspect); around rested }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use std::time::SystemTime;

    struct Stopped;

    #[async_trait]
    impl Clock for Stopped {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        async fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn a_rest_follows_several_short_calls_and_has_a_limit() {
        let storage = MemoryStorage::new();
        let unhurried = Unhurried::new(&storage, &Stopped, None);
        let rest_after = |millis| unhurried.rest_after(Duration::from_millis(millis));

        assert_eq!(rest_after(4), None);
        assert_eq!(rest_after(4), None);
        assert_eq!(rest_after(4), Some(Duration::from_millis(36)));
        assert_eq!(rest_after(4), None, "the calls before the rest no longer count");
        assert_eq!(unhurried.rest_after(Duration::MAX), Some(LONGEST));
    }
}
