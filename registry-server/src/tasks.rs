//! [`Tasks`]: the background work of a server, as one set that ends with it.

use axum::Router;
use registry_listener::Timeouts;
use std::{
    any::Any,
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet},
    time::sleep,
};

/// Pause before work that panicked starts again.
const PAUSE: Duration = Duration::from_secs(1);

/// Background work. Dropping the set aborts it.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<TaskEnded>,
    /// Listeners beside the one for clients. They close their connections before they end, so they are told.
    listening: JoinSet<TaskEnded>,
    /// Tells the listeners to stop, by being dropped.
    stop: watch::Sender<()>,
    /// Tells listeners that drain to stop, by a value or by being dropped.
    drain: watch::Sender<()>,
}

/// Future that ends when the listeners have to stop.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

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
            while let Err(panic) = caught(async { start().await }).await {
                tracing::error!(task = name, panic, "a background task panicked, and starts again");
                sleep(PAUSE).await;
            }
            TaskEnded::returned(name)
        });
    }

    /// Runs work that cannot start again.
    pub(crate) fn require<W>(&mut self, name: &'static str, work: W)
    where
        W: Future + Send + 'static,
        W::Output: Send,
    {
        self.running.spawn(finished(name, work));
    }

    /// Answers on a listener of the server's own, until the set ends.
    pub(crate) fn listen(&mut self, name: &'static str, listener: TcpListener, app: Router) {
        let mut timeouts = Timeouts::default();
        timeouts.drain = Duration::ZERO;
        let server = registry_listener::Server::new(app)
            .timeouts(timeouts)
            .until(told(&self.stop));
        self.listening.spawn(finished(name, server.serve(listener)));
    }

    /// Runs a listener of another kind, which stops when the future that it gets does. It ends when the requests on its
    /// connections have.
    pub(crate) fn serve<W>(&mut self, name: &'static str, serve: impl FnOnce(Stop) -> W)
    where
        W: Future + Send + 'static,
        W::Output: Send,
    {
        let stop = told(&self.drain);
        self.listening.spawn(finished(name, serve(stop)));
    }

    /// Tells the listeners that drain to stop. Everything else goes on.
    pub(crate) fn drain(&self) {
        self.drain.send_replace(());
    }

    /// Waits for the end of a task. Does not end if there is none.
    pub(crate) async fn ended(&mut self) -> TaskEnded {
        let ended = tokio::select! {
            Some(ended) = self.running.join_next() => ended,
            Some(ended) = self.listening.join_next() => ended,
            else => match std::future::pending::<Infallible>().await {},
        };
        ended.unwrap_or_else(|error| TaskEnded::new("supervisor", Err(error)))
    }

    /// Ends all work, and waits until nothing of it is left: no port, and no handle of the storage.
    pub(crate) async fn end(mut self) {
        drop((self.stop, self.drain));
        while self.listening.join_next().await.is_some() {}
        self.running.shutdown().await;
    }
}

/// Returns a future that ends when something is sent, or the sender is dropped.
fn told(sender: &watch::Sender<()>) -> Stop {
    let mut told = sender.subscribe();
    Box::pin(async move {
        // An error is the end of the sender.
        _ = told.changed().await;
    })
}

impl TaskEnded {
    pub(crate) fn new(name: &'static str, outcome: Result<(), JoinError>) -> Self {
        match outcome.map_err(JoinError::try_into_panic) {
            Ok(()) => Self::returned(name),
            Err(Ok(panic)) => Self::panicked(name, &text(&*panic)),
            Err(Err(error)) => Self {
                name,
                reason: error.to_string(),
            },
        }
    }

    fn returned(name: &'static str) -> Self {
        let reason = "it returned".to_owned();
        Self { name, reason }
    }

    fn panicked(name: &'static str, panic: &str) -> Self {
        let reason = format!("it panicked: {panic}");
        Self { name, reason }
    }
}

/// Runs work to its end.
async fn finished(name: &'static str, work: impl Future) -> TaskEnded {
    match caught(work).await {
        Ok(_) => TaskEnded::returned(name),
        Err(panic) => TaskEnded::panicked(name, &panic),
    }
}

/// Runs work in the task of the caller, so that it ends with that task. Returns the message if it panics.
async fn caught<W: Future>(work: W) -> Result<W::Output, String> {
    let mut work = pin!(work);
    // Work that panicked is not polled again.
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(text(&*panic))),
        },
    )
    .await
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
    use std::sync::Arc;
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
    async fn nothing_is_left_of_tasks_that_were_ended() {
        let mut tasks = Tasks::default();
        let held = Arc::new(());
        let (required, repeated) = (Arc::clone(&held), Arc::clone(&held));
        tasks.require("required", async move {
            std::future::pending::<()>().await;
            drop(required);
        });
        tasks.repeat("repeated", move || {
            let repeated = Arc::clone(&repeated);
            async move {
                std::future::pending::<()>().await;
                drop(repeated);
            }
        });
        // Both have begun.
        tokio::task::yield_now().await;

        tasks.end().await;

        assert_eq!(Arc::strong_count(&held), 1);
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
