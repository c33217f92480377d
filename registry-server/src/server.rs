//! [`Server`]: a server that runs.

use crate::{
    access_log::Writer,
    bucket::OpenBucket,
    tasks::{TaskEnded, Tasks},
};
use registry_axum::Mount;
use registry_core::Registry;
use registry_listener::Ended;
use registry_storage_fs::FsStorage;
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// Additional time after the drain for storing received data. With the default drain timeout it is less than the 10 s
/// after which `docker stop` kills the process.
const TIDYING: Duration = Duration::from_secs(1);
const WAITING: &str = "waiting for running operations of the storage";
const HELD: &str = "the directory of the storage is still in use, because this process keeps the registry, the storage or a request that was aborted; no other server can open it until these are dropped or the process ends";

/// Server that accepts connections, with its background work. [`ServerBuilder::start`](crate::ServerBuilder::start)
/// makes one.
///
/// Dropping it cuts off all connections. [`run_until`](Self::run_until) and [`shutdown`](Self::shutdown) let running
/// requests end.
#[derive(Debug)]
pub struct Server {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) url: String,
    pub(crate) operators: Option<SocketAddr>,
    pub(crate) registry: Registry,
    pub(crate) mount: Mount,
    /// The storage, if it is a directory.
    pub(crate) directory: Option<FsStorage>,
    /// The storage, if it is a configured bucket.
    pub(crate) bucket: Option<OpenBucket>,
    pub(crate) drain: Duration,
    pub(crate) tasks: Tasks,
    /// The listener for clients.
    pub(crate) serving: JoinSet<Ended>,
    /// Tells the listener to stop.
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) access_log: Option<Writer>,
}

/// Reason for which a server ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Work ended without which the server would not keep its promises.
    #[error("{reason}")]
    Task {
        /// Name of the work, and its end.
        reason: String,
        /// End of the server, which was shut down then: the time that is left, and the access log to finish.
        stopped: Stopped,
    },
}

/// End of a server that was told to stop.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// Number of connections whose requests did not end in time.
    pub aborted: usize,
    deadline: Instant,
    access_log: Option<Writer>,
}

impl Server {
    /// Returns the address that clients reach; `None` if that is a Unix socket.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the URL that the server listens on, such as `http://127.0.0.1:5000` or `unix:/run/registry.sock`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address of the listener for operators, with health and metrics; `None` if the configuration has none.
    #[must_use]
    pub const fn operator_address(&self) -> Option<SocketAddr> {
        self.operators
    }

    /// Returns the registry, for calls in process.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Serves until a future ends, and then as in [`shutdown`](Self::shutdown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts off all connections, like dropping the server.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if the server ended by itself. Running requests were given the same time.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<Stopped, ServerError> {
        let failed = tokio::select! {
            () = stop => None,
            ended = self.tasks.ended() => Some(ended),
            ended = self.serving.join_next() => Some(self.broken(ended.and_then(Result::err))),
        };
        if let Some(ended) = &failed {
            tracing::error!("{ended}");
        }
        let stopped = self.shutdown().await;
        match failed {
            None => Ok(stopped),
            Some(ended) => Err(ServerError::Task {
                reason: ended.to_string(),
                stopped,
            }),
        }
    }

    /// Stops: accepts no more connections, and waits for running requests, as long as `http.draintimeout` allows.
    /// Afterwards the ports and the directory are free, unless the host keeps a clone of the registry or of the storage.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts off the connections that are left, like dropping the server.
    pub async fn shutdown(mut self) -> Stopped {
        let deadline = Instant::now() + self.drain + TIDYING;
        tracing::info!(
            "stopping: waiting up to {} s for running requests",
            self.drain.as_secs_f32()
        );
        // The listener has gone if nobody hears it.
        _ = self.stop.send(());
        self.tasks.drain();
        let ended = self.serving.join_next().await.and_then(Result::ok);
        let aborted = ended.map_or(0, |ended| ended.cut);
        if aborted > 0 {
            tracing::warn!(
                connections = aborted,
                "requests were still running and are aborted; their uploads can be resumed"
            );
        }
        // Tasks outlive their connections: what was received is kept before the process ends.
        if timeout_at(deadline, self.mount.drained()).await.is_err() {
            tracing::warn!("requests did not end in time");
        }
        // A host may start the next server at once, on the same ports and directory.
        if timeout_at(deadline, self.tasks.end()).await.is_err() {
            tracing::warn!("background work did not end in time");
        }
        drop((self.registry, self.mount));
        tracing::debug!("{WAITING}");
        if let Some(directory) = self.directory {
            match timeout_at(deadline, directory.close()).await {
                Ok(true) => {}
                Ok(false) => tracing::warn!("{HELD}"),
                Err(_elapsed) => tracing::warn!(
                    "operations of the storage did not end in time: its directory is still in use"
                ),
            }
        }
        if let Some(bucket) = self.bucket
            && timeout_at(deadline, bucket.release()).await.is_err()
        {
            tracing::debug!("the bucket was not given back in time");
        }
        Stopped {
            aborted,
            deadline,
            access_log: self.access_log,
        }
    }

    fn broken(&self, error: Option<tokio::task::JoinError>) -> TaskEnded {
        TaskEnded::new("listener", error.map_or(Ok(()), Err))
    }
}

impl Stopped {
    /// Returns the time that is left until the process should end, for a host that has to stop a runtime whose threads
    /// may be in a call that never returns, to a disk that has gone.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits until the access log is written, at most for half a second. Call it when the runtime has ended: every
    /// request has its line then.
    pub fn finish_log(self) {
        if let Some(writer) = self.access_log {
            writer.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD, WAITING};
    use crate::{Config, Server, ServerBuilder, Sources};
    use registry_storage_fs::FsStorage;
    use std::{
        fmt,
        future::{Future, poll_fn},
        path::Path,
        pin::pin,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
            mpsc::{self, Receiver, Sender},
        },
        task::Poll,
        thread::{self, ThreadId},
    };
    use tracing::{
        Event, Instrument as _,
        field::{Field, Visit},
        span,
    };
    use tracing_subscriber::{
        layer::{Context, Layer, SubscriberExt as _},
        registry::LookupSpan,
    };

    const SPAN: &str = "operation of the test";

    /// Stops the work of [`SPAN`] on another thread than the test's until the server waits for the storage.
    struct Stopping {
        test: ThreadId,
        begun: Sender<()>,
        waiting: (Sender<()>, Mutex<Receiver<()>>),
    }

    impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Stopping {
        fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
            let is_ours = context
                .span_scope(id)
                .is_some_and(|mut spans| spans.any(|span| span.name() == SPAN));
            if is_ours && thread::current().id() != self.test {
                self.begun.send(()).unwrap();
                self.waiting.1.lock().unwrap().recv().unwrap();
            }
        }

        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut text = Text::default();
            event.record(&mut text);
            if text.0 == WAITING {
                self.waiting.0.send(()).unwrap();
            }
        }
    }

    #[derive(Default)]
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }

    /// Starts a server on a directory.
    async fn started(root: &Path) -> Server {
        let root = root.display().to_string();
        let sources = Sources::new()
            .set("storage.filesystem.rootdirectory", "test", root)
            .set("http.addr", "test", "127.0.0.1:0");
        let config = Config::load(sources).unwrap();
        ServerBuilder::from_config(config).start().await.unwrap()
    }

    /// Counts the warnings about a directory that is still in use.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Warnings {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut text = Text::default();
            event.record(&mut text);
            if text.0 == HELD {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[tokio::test]
    async fn a_shutdown_warns_if_something_keeps_the_directory() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(warnings.clone()));
        // As below.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let root = tempfile::tempdir().unwrap();
        for (is_kept, expected) in [(false, 0), (true, 1)] {
            let server = started(root.path()).await;
            let kept = is_kept.then(|| server.registry().clone());

            server.shutdown().await;

            assert_eq!(warnings.0.load(Ordering::Relaxed), expected);
            assert_eq!(FsStorage::open(root.path()).is_err(), is_kept);
            drop(kept);
        }
    }

    async fn is_pending(future: impl Future) -> bool {
        let mut future = pin!(future);
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_directory_is_free_after_a_shutdown_that_left_an_operation_running() {
        let root = tempfile::tempdir().unwrap();
        let (begun, is_begun) = mpsc::channel();
        let (waits, waiting) = mpsc::channel();
        let stopping = Stopping {
            test: thread::current().id(),
            begun,
            waiting: (waits.clone(), Mutex::new(waiting)),
        };
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(stopping));
        // With a single subscriber, `tracing` decides what is logged by the thread that reaches it first, which may be
        // another test's. With two it asks both.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let server = started(root.path()).await;
        {
            let registry = server.registry().clone();
            let reading = async move {
                let repository = registry.repository("team/app").unwrap();
                _ = repository.manifest("v1").await;
            };
            // Nobody waits for the rest of it.
            assert!(is_pending(reading.instrument(tracing::error_span!(SPAN))).await);
        }
        is_begun.recv().unwrap();

        server.shutdown().await;
        let again = FsStorage::open(root.path());

        // If the server did not wait, the operation still runs.
        _ = waits.send(());
        again.unwrap();
    }
}
