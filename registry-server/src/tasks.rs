//! [`Tasks`]: the background work of a server, as one set that ends with it.

use std::{any::Any, convert::Infallible, future::Future, time::Duration};
use tokio::{
    task::{JoinError, JoinSet},
    time::sleep,
};

/// Pause before work that panicked starts again.
const PAUSE: Duration = Duration::from_secs(1);

/// Background work. Dropping the set aborts it.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<TaskEnded>,
}

/// End of a task that a server needs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the background task `{name}` ended: {reason}")]
pub(crate) struct TaskEnded {
    name: &'static str,
    reason: String,
}

impl Tasks {
    /// Runs work that can start again, which it does after a panic.
    pub(crate) fn repeat<W>(&mut self, name: &'static str, mut start: impl FnMut() -> W + Send + 'static)
    where
        W: Future + Send + 'static,
        W::Output: Send,
    {
        self.running.spawn(async move {
            loop {
                match outcome(start()).await {
                    Err(error) if error.is_panic() => {
                        let panic = text(&*error.into_panic());
                        tracing::error!(task = name, panic, "a background task panicked, and starts again");
                        sleep(PAUSE).await;
                    }
                    ended => return TaskEnded::new(name, ended.map(drop)),
                }
            }
        });
    }

    /// Runs work that cannot start again.
    pub(crate) fn require<W>(&mut self, name: &'static str, work: W)
    where
        W: Future + Send + 'static,
        W::Output: Send,
    {
        self.running
            .spawn(async move { TaskEnded::new(name, outcome(work).await.map(drop)) });
    }

    /// Waits for the end of a task. Does not end if there is none.
    pub(crate) async fn ended(&mut self) -> TaskEnded {
        match self.running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => TaskEnded::new("supervisor", Err(error)),
            None => match std::future::pending::<Infallible>().await {},
        }
    }
}

impl TaskEnded {
    pub(crate) fn new(name: &'static str, outcome: Result<(), JoinError>) -> Self {
        let reason = match outcome {
            Ok(()) => "it returned".to_owned(),
            Err(error) if error.is_panic() => format!("it panicked: {}", text(&*error.into_panic())),
            Err(error) => error.to_string(),
        };
        Self { name, reason }
    }
}

/// Runs work as a task, which is aborted when this future is dropped.
async fn outcome<W>(work: W) -> Result<W::Output, JoinError>
where
    W: Future + Send + 'static,
    W::Output: Send,
{
    let mut one = JoinSet::new();
    one.spawn(work);
    one.join_next().await.expect("the set has one task")
}

/// Returns the message of a panic.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_starts_again() {
        let mut tasks = Tasks::default();
        let (tell, mut told) = mpsc::unbounded_channel();

        tasks.repeat("work", move || {
            let tell = tell.clone();
            async move {
                tell.send(()).unwrap();
                panic!("by intention");
            }
        });

        for _ in 0..3 {
            told.recv().await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_end_of_a_task_is_told_with_its_reason() {
        let mut tasks = Tasks::default();
        tasks.require("waiting", std::future::pending::<()>());
        tasks.require("panicking", async { panic!("by intention") });

        let ended = tasks.ended().await;

        assert_eq!(
            ended.to_string(),
            "the background task `panicking` ended: it panicked: by intention"
        );
    }

    #[tokio::test]
    async fn tasks_end_with_their_set() {
        let mut tasks = Tasks::default();
        let (kept, gone) = oneshot::channel::<()>();
        tasks.require("work", async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        });

        drop(tasks);

        assert!(gone.await.is_err());
    }
}
