//! [`Server`]: accepts connections, runs each as a task, and drains them at the end.

use crate::{
    admission::Admission,
    connection,
    connection_slots::ConnectionSlots,
    handshake::{Handshake, Plain},
    listener::{Backoff, Listener},
    refused::{Observer, Refused},
    request_body::RequestBody,
    service::AnyService,
    settings::{ConnectionLimits, Timeouts},
    shared::Shared,
    tls_hint::TlsHint,
};
use http::{Request, Response};
use http_body::Body;
use registry_core::BoxError;
use std::{
    fmt,
    future::{Future, pending},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// Maximum number of connections that are refused at the same time. Further ones are closed without an answer.
const REFUSALS: usize = 64;

/// Serves a tower service on a listener until the future is dropped.
///
/// ```no_run
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # async fn serve() -> std::io::Result<()> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let service = registry.into_service(|task| {
///     tokio::spawn(task);
/// });
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// registry_listener::serve(listener, service).await;
/// # Ok(())
/// # }
/// ```
///
/// [`Server::new`] describes the requirements on the service.
///
/// # Cancel safety
///
/// Dropping the future cuts off all connections. Requests that change something are tasks of their own.
pub async fn serve<S, B>(listener: impl Listener, service: S)
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    Server::new(service).serve(listener).await;
}

/// A server with settings, which [`serve`](Self::serve) runs.
///
/// ```no_run
/// use registry_listener::{Server, Timeouts};
/// use std::time::Duration;
///
/// # use registry_core::{Registry, storage::MemoryStorage};
/// # async fn serve(registry: Registry) -> std::io::Result<()> {
/// # let service = registry.into_service(|task| { tokio::spawn(task); });
/// let mut timeouts = Timeouts::default();
/// timeouts.keep_alive = Duration::from_secs(60);
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// let ended = Server::new(service)
///     .timeouts(timeouts)
///     .until(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
///     .serve(listener)
///     .await;
/// println!("{} connections were cut off", ended.cut);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is served before `serve` is called"]
pub struct Server<H = Plain> {
    service: AnyService,
    handshake: H,
    timeouts: Timeouts,
    limits: ConnectionLimits,
    observer: Observer,
    sendfile: bool,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Server {
    /// Returns a server with default settings, which serves until its future is dropped.
    ///
    /// The service is cloned for each request, and called when it is ready. If it fails, the error is logged, and the
    /// response is 500 in the error format of the registry.
    ///
    /// ```no_run
    /// use http::{Request, Response};
    /// use registry_listener::{RequestBody, Server};
    /// use std::{
    ///     convert::Infallible,
    ///     future::{Ready, ready},
    ///     task::{Context, Poll},
    /// };
    ///
    /// /// Returns the path of each request.
    /// #[derive(Clone)]
    /// struct Echo;
    ///
    /// impl tower_service::Service<Request<RequestBody>> for Echo {
    ///     type Response = Response<String>;
    ///     type Error = Infallible;
    ///     type Future = Ready<Result<Response<String>, Infallible>>;
    ///
    ///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
    ///         Poll::Ready(Ok(()))
    ///     }
    ///
    ///     fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
    ///         ready(Ok(Response::new(request.uri().path().to_owned())))
    ///     }
    /// }
    ///
    /// # async fn serve() -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
    /// Server::new(Echo).serve(listener).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            service: AnyService::new(service),
            handshake: Plain,
            timeouts: Timeouts::default(),
            limits: ConnectionLimits::default(),
            observer: Observer::default(),
            sendfile: false,
            until: Box::pin(pending()),
        }
    }
}

impl<H> Server<H> {
    /// Sets the timeouts of connections and requests.
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        Self {
            timeouts: timeouts.bounded(),
            ..self
        }
    }

    /// Sets the limits on connections and requests.
    pub fn limits(self, limits: ConnectionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Sets an observer of the requests that the server refuses by itself, with 400, 431, 501 or 503. No layer of the
    /// service sees these requests. The observer must not block. For 408 and 500, layers read
    /// [`Overruled`](registry_core::service::Overruled).
    ///
    /// ```
    /// use registry_listener::Server;
    ///
    /// # fn with_a_log(server: Server) -> Server {
    /// server.on_refusal(|refused| println!("{} {:?}: {}", refused.peer, refused.line, refused.status))
    /// # }
    /// ```
    pub fn on_refusal(self, observer: impl Fn(Refused) + Send + Sync + 'static) -> Self {
        Self {
            observer: Observer::new(observer),
            ..self
        }
    }

    /// Lets the system send blobs in files from its page cache directly to the connection, with `sendfile(2)`. This
    /// applies to plain TCP with HTTP/1, on Linux, from 64 KiB on. All other bodies are streamed. The offer reaches the
    /// registry as a [`FileSender`](registry_core::service::FileSender) in the extensions of a request.
    ///
    /// It costs a fraction of the CPU time. It is not the default because of one condition: no layer around the
    /// registry may read the bytes of these bodies. Their frames have the right lengths, so that a layer can count them,
    /// but they do not contain the blob. If a layer changes or replaces such a body, the connection is cut, so that no
    /// client receives wrong bytes.
    ///
    /// ```no_run
    /// # use registry_core::{Registry, storage::MemoryStorage};
    /// # async fn serve(registry: Registry) -> std::io::Result<()> {
    /// # let service = registry.into_service(|task| { tokio::spawn(task); });
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
    /// registry_listener::Server::new(service).sendfile().serve(listener).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Other bodies of the registry, such as those of in-process requests, are not affected.
    #[cfg(feature = "sendfile")]
    pub fn sendfile(self) -> Self {
        Self {
            sendfile: true,
            ..self
        }
    }

    /// Sets the step before HTTP on each connection, such as TLS.
    pub fn handshake<Other>(self, handshake: Other) -> Server<Other> {
        Server {
            service: self.service,
            handshake,
            timeouts: self.timeouts,
            limits: self.limits,
            observer: self.observer,
            sendfile: self.sendfile,
            until: self.until,
        }
    }

    /// Sets the signal for the shutdown. Then no more connections are accepted, idle ones are closed, HTTP/2 peers
    /// receive a `GOAWAY`, and running requests finish. Remaining connections are cut off after [`Timeouts::drain`].
    pub fn until(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            until: Box::pin(signal),
            ..self
        }
    }

    /// Serves until the shutdown. Failures to accept a connection are logged, and serving continues.
    ///
    /// Requests to a registry that may change something are tasks of their own, and continue when their connection is
    /// cut off. The host waits for these tasks, see
    /// [`Registry::into_service`](registry_core::Registry::into_service).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts off all connections, without the time that [`until`](Self::until) gives them.
    pub async fn serve<L>(self, mut listener: L) -> Ended
    where
        L: Listener,
        H: Handshake<L::Io>,
    {
        let stop = CancellationToken::new();
        let Self {
            service,
            handshake,
            timeouts,
            limits,
            observer,
            sendfile,
            mut until,
        } = self;
        let mut connections = Connections {
            shared: Arc::new(Shared {
                handshake,
                timeouts,
                limits,
                observer,
                sendfile,
                admission: Arc::new(Admission::new(limits.all_streams)),
                stop: stop.clone(),
                tls_hint: TlsHint::default(),
            }),
            service,
            running: JoinSet::new(),
            slots: ConnectionSlots::new(limits.connections),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            full: false,
        };
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut until => break,
                Some(ended) = connections.running.join_next() => {
                    note(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((io, peer)) => {
                    backoff.reset();
                    connections.begin(io, peer);
                }
                Err(error) => {
                    if let Some(pause) = backoff.after(&error) {
                        tokio::select! {
                            () = &mut until => break,
                            () = sleep(pause) => {}
                        }
                    }
                }
            }
        }
        // From here on the system refuses new connections.
        drop(listener);
        stop.cancel();
        drain(connections.running, timeouts).await
    }
}

impl<H: fmt::Debug> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("handshake", &self.handshake)
            .field("timeouts", &self.timeouts)
            .field("limits", &self.limits)
            .field("sendfile", &self.sendfile)
            .finish_non_exhaustive()
    }
}

/// Outcome for the connections that were open at the signal for the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Number of connections that ended before the deadline.
    pub finished: usize,
    /// Number of connections that were cut off at the deadline.
    pub cut: usize,
}

/// The open connections, each a task.
struct Connections<H> {
    shared: Arc<Shared<H>>,
    service: AnyService,
    running: JoinSet<()>,
    slots: ConnectionSlots,
    refusals: Arc<Semaphore>,
    /// True if there was no slot for the last connection.
    full: bool,
}

impl<H> Connections<H> {
    fn begin<Io>(&mut self, io: Io, peer: SocketAddr)
    where
        Io: Send + 'static,
        H: Handshake<Io>,
    {
        let (shared, service) = (Arc::clone(&self.shared), self.service.clone());
        if let Some(slot) = self.slots.take() {
            self.full = false;
            self.running.spawn(async move {
                connection::serve(&shared, service, io, peer, &slot).await;
            });
            return;
        }
        if !std::mem::replace(&mut self.full, true) {
            let limit = shared.limits.connections;
            tracing::warn!(%peer, limit, "the limit of connections is reached, and none can be evicted; new ones are refused");
        }
        if let Ok(slot) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.running.spawn(async move {
                connection::refuse(&shared, service, io, peer).await;
                drop(slot);
            });
        }
    }
}

async fn drain(mut running: JoinSet<()>, timeouts: Timeouts) -> Ended {
    while let Some(ended) = running.try_join_next() {
        note(ended);
    }
    let open = running.len();
    let deadline = Instant::now() + timeouts.drain;
    while let Ok(Some(ended)) = timeout_at(deadline, running.join_next()).await {
        note(ended);
    }
    let cut = running.len();
    running.shutdown().await;
    Ended {
        finished: open - cut,
        cut,
    }
}

/// Logs a panic of a handler, which ends only its connection.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request panicked; its connection was closed");
    }
}
