//! [`Holding`]: the collections of a server, and the hold during which none begins.

use registry_core::{maintenance::Collections, storage::Run};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{task::JoinSet, time::sleep};

/// The collections of a server, and their hold.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    current: Arc<Mutex<Current>>,
    collections: Collections,
    grace: Duration,
}

#[derive(Debug, Default)]
struct Current {
    until: Option<SystemTime>,
    /// Task that has the run open. It is aborted with this set.
    task: JoinSet<()>,
}

impl Holding {
    pub(super) fn of(collections: Collections, grace: Duration) -> Self {
        Self {
            current: Arc::default(),
            collections,
            grace,
        }
    }

    /// Returns the time without use after which content goes.
    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Returns the collections of the server.
    pub(super) const fn collections(&self) -> &Collections {
        &self.collections
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of the hold, if there is one.
    pub(super) fn until(&self) -> Option<SystemTime> {
        let mut current = self.lock();
        while current.task.try_join_next().is_some() {}
        current.until.filter(|_| !current.task.is_empty())
    }

    /// Keeps a run open for some time. Returns the end of the hold.
    pub(super) fn begin(&self, run: Run, time: Duration) -> SystemTime {
        let end = SystemTime::now() + time;
        let mut current = self.lock();
        current.until = Some(end);
        current.task.spawn(async move {
            sleep(time).await;
            // A dropped run removes nothing, and makes room for the next one.
            drop(run);
        });
        end
    }

    /// Ends the hold, and waits until its run has ended.
    pub(super) async fn end(&self) {
        let mut task = std::mem::take(&mut self.lock().task);
        task.shutdown().await;
    }
}
