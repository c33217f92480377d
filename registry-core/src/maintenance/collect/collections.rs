//! [`Collections`]: the collections of a process, for metrics, and to make those give way that nobody asked for.

use super::{
    counts::CollectCounts,
    report::CollectReport,
    requests::{RunRequest, RunRequests},
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

/// The collections of a process: their counts, and a way to pause those of a
/// [schedule](super::CollectSchedule). Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Collections(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: CollectCounts,
    requests: RunRequests,
    pauses: usize,
    /// True while a run of a schedule is open.
    is_running: bool,
    /// Wakers of everybody who waits for a change.
    waiting: Vec<Waker>,
}

/// Prevents runs of a schedule until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct PausedCollections(Collections);

/// A run of a schedule is open until this is dropped.
struct Running<'a>(&'a Collections);

impl Collections {
    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> CollectCounts {
        self.lock().counts
    }

    /// Adds a collection that ended at a time.
    pub fn add(&self, report: &CollectReport, ended: SystemTime) {
        let mut state = self.lock();
        state.counts = state.counts.after(report, ended);
    }

    /// Ends the run of a schedule that is open, and prevents others until the result is dropped. Somebody who asks for
    /// a run does not wait for one that nobody asked for.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call prevents no runs any more. It may have ended one.
    pub async fn pause(&self) -> PausedCollections {
        self.change(|state| state.pauses += 1);
        let paused = PausedCollections(self.clone());
        poll_fn(|context| {
            let mut state = self.lock();
            match state.is_running {
                true => state.wait(context),
                false => Poll::Ready(()),
            }
        })
        .await;
        paused
    }

    /// Asks for a run of a schedule as soon as possible.
    pub(in crate::maintenance) fn request(&self) -> RunRequest {
        self.lock().requests.add()
    }

    /// Returns true if runs of a schedule since a request have removed everything that nothing referred to.
    pub(in crate::maintenance) fn is_met(&self, request: RunRequest) -> bool {
        self.lock().requests.is_met(request)
    }

    /// Returns true if no run has begun since the last request.
    pub(super) fn is_requested(&self) -> bool {
        self.lock().requests.is_waiting()
    }

    /// Notes that a run of a schedule begins. Returns the last request before it.
    pub(super) fn begin(&self) -> RunRequest {
        self.lock().requests.begin()
    }

    /// Notes that a run of a schedule has ended, which began after a request.
    pub(super) fn end(&self, request: RunRequest, report: &CollectReport) {
        self.lock().requests.end(request, report);
    }

    /// Notes that a schedule has waited for this time.
    pub(super) fn waited(&self, time: Duration) {
        self.lock().requests.wait(time);
    }

    /// Runs a collection once nobody pauses them. Returns `None` if somebody pauses them meanwhile.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.pauses > 0 {
                return state.wait(context);
            }
            state.is_running = true;
            Poll::Ready(())
        })
        .await;
        // Dropped after the work.
        let _running = Running(self);
        let mut work = pin!(work);
        poll_fn(|context| {
            let mut state = self.lock();
            if state.pauses > 0 {
                return Poll::Ready(None);
            }
            _ = state.wait::<()>(context);
            drop(state);
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        let waker = context.waker();
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
        Poll::Pending
    }
}

impl Drop for PausedCollections {
    fn drop(&mut self) {
        self.0.change(|state| state.pauses -= 1);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.is_running = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_pause_ends_the_run_that_is_open_and_delays_the_next_one() {
        let collections = Collections::default();
        let dropped = Arc::new(());
        let run = tokio::spawn({
            let (collections, held) = (collections.clone(), Arc::clone(&dropped));
            async move {
                let work = async {
                    pending::<()>().await;
                    drop(held);
                };
                collections.run(work).await
            }
        });
        while !collections.lock().is_running {
            tokio::task::yield_now().await;
        }

        let paused = collections.pause().await;
        assert_eq!(
            Arc::strong_count(&dropped),
            1,
            "the run is dropped before the pause begins"
        );
        assert_eq!(run.await.unwrap(), None);

        let mut next = pin!(collections.run(async { 1 }));
        let looked = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        assert!(looked.is_pending());
        drop(paused);
        assert_eq!(next.await, Some(1));
        assert!(!collections.lock().is_running);
    }
}
