//! [`Tasks`]: the requests in progress that may change something.

use registry_core::service::Task;
use tokio::sync::watch;

/// Counts tasks, so that a shutdown can wait for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(watch::Sender<usize>);

impl Tasks {
    pub(crate) fn spawn(&self, task: Task) {
        self.0.send_modify(|running| *running += 1);
        let counted = Counted(self.0.clone());
        tokio::spawn(async move {
            task.await;
            drop(counted);
        });
    }

    /// Waits until no task is running.
    pub(crate) async fn ended(&self) {
        // The sender exists as long as `self`.
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }
}

/// Counts for one task, until it ends, panics or is dropped.
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{pin::pin, task::Poll};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn the_end_is_that_of_the_last_task_of_all_clones() {
        let tasks = Tasks::default();
        let (go_on, goes_on) = oneshot::channel::<()>();
        tasks.clone().spawn(Box::pin(async { drop(goes_on.await) }));
        let mut ended = pin!(tasks.ended());
        assert!(std::future::poll_fn(|context| Poll::Ready(ended.as_mut().poll(context).is_pending())).await);

        go_on.send(()).unwrap();

        ended.await;
    }

    #[tokio::test]
    async fn a_task_that_panics_has_ended() {
        let tasks = Tasks::default();
        tasks.spawn(Box::pin(async { panic!("as a test does") }));

        tasks.ended().await;
    }

    #[test]
    fn a_task_whose_runtime_has_ended_has_ended() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tasks = Tasks::default();
        let first = runtime();
        first.block_on(async { tasks.spawn(Box::pin(std::future::pending())) });
        drop(first);

        runtime().block_on(tasks.ended());
    }
}
