//! [`Running`]: the upload sessions with an append in this process.
//!
//! A short body is recorded only when all of it is there, so the record does not refuse others meanwhile. Of two appends
//! at two processes, the first one to end wins.

use registry_core::UploadId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Time after which an append without progress does not count: a claim in a record is renewed more often.
pub(super) const LEASE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<Appends>>);

#[derive(Debug, Default)]
struct Appends {
    begun: u64,
    running: HashMap<UploadId, (u64, Instant)>,
}

impl Running {
    /// Begins an append. Returns `None` if one is running that is younger than the lease.
    pub(super) fn begin(&self, id: UploadId) -> Option<Append> {
        let mut appends = self.appends();
        if appends.has(&id) {
            return None;
        }
        appends.begun += 1;
        let number = appends.begun;
        appends.running.insert(id, (number, Instant::now()));
        Some(Append {
            id,
            number,
            running: self.clone(),
        })
    }

    /// Returns true if an append is running that is younger than the lease.
    pub(super) fn has(&self, id: &UploadId) -> bool {
        self.appends().has(id)
    }

    fn appends(&self) -> MutexGuard<'_, Appends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appends {
    fn has(&self, id: &UploadId) -> bool {
        let running = self.running.get(id);
        running.is_some_and(|(_, begun)| begun.elapsed() < LEASE)
    }
}

/// An append that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Append {
    id: UploadId,
    number: u64,
    running: Running,
}

impl Drop for Append {
    fn drop(&mut self) {
        let mut appends = self.running.appends();
        // A younger one may have taken over.
        if appends
            .running
            .get(&self.id)
            .is_some_and(|(number, _)| *number == self.number)
        {
            appends.running.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn an_append_refuses_others_until_it_ends() {
        let (running, id) = (Running::default(), UploadId::from_random([1; 16]));
        let first = running.begin(id).unwrap();

        assert!(running.begin(id).is_none());
        assert!(running.begin(UploadId::from_random([2; 16])).is_some());

        drop(first);
        assert!(running.begin(id).is_some());
        assert!(running.appends().running.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_is_taken_over_when_its_lease_has_ended() {
        let (running, id) = (Running::default(), UploadId::from_random([1; 16]));
        let first = running.begin(id).unwrap();
        advance(LEASE).await;

        let second = running.begin(id).unwrap();
        drop(first);

        assert!(running.has(&id));
        drop(second);
        assert!(!running.has(&id));
    }
}
