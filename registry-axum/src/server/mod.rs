//! The listener: serves a router to real clients on real networks.
//!
//! [`serve`] takes one line; [`Server`] has settings. Hosts with a listener of their own need neither.
//!
//! | | |
//! |---|---|
//! | protocols | HTTP/1.1, HTTP/1.0, and HTTP/2 with peers that begin with it; TLS is a [`Handshake`], available with the feature `tls` |
//! | timeouts | for the first byte, for a request's head, between requests, and for an idle body, each its own ([`Timeouts`]); none for a whole body |
//! | limits | on connections, on the bytes of a head, on concurrent requests ([`Limits`]); idle connections give way to active ones |
//! | early answers | sent at once; the rest of the body is received within bounds, so that the client sees the answer |
//! | odd requests | two lengths, two hosts, unknown codings, folded headers: refused in the registry's error format, and the connection closed |
//! | the end | no more connections are accepted, idle ones are closed, requests finish, and the rest is cut off at the deadline |
//!
//! Every request carries a [`ClientAddress`](registry_core::auth::ClientAddress). An answer whose body is ready is
//! sent in one piece with its head.

mod activity;
mod admission;
mod body_scan;
mod checks;
mod connection;
mod exchange;
mod handshake;
mod head;
mod http1;
mod http2;
mod listener;
mod places;
mod refusal;
mod refused;
mod rewound;
pub(crate) mod sendfile;
mod settings;
mod shared;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod tls_hint;
mod watchdog;
mod watched;

pub use self::{
    handshake::{Established, Handshake, Plain, Protocol},
    listener::Listener,
    refused::Refused,
    settings::{Limits, Timeouts},
};

use self::{
    admission::Admission, listener::Backoff, places::Places, refused::Observer, shared::Shared,
    tls_hint::TlsHint,
};
use axum::Router;
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

/// Maximum number of connections that are refused at the same time. Further ones are closed without an answer.
const REFUSALS: usize = 64;

/// Serves a router on a listener, until the future is dropped.
///
/// ```no_run
/// # async fn serve(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// registry_axum::serve(listener, app).await;
/// # Ok(())
/// # }
/// ```
pub async fn serve(listener: impl Listener, router: Router) {
    Server::new(router).serve(listener).await;
}

/// A listener with settings, not yet started.
///
/// ```no_run
/// use registry_axum::server::{Server, Timeouts};
/// use std::time::Duration;
///
/// # async fn serve(app: axum::Router) -> std::io::Result<()> {
/// let mut timeouts = Timeouts::default();
/// timeouts.keep_alive = Duration::from_secs(60);
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// let ended = Server::new(app)
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
    router: Router,
    handshake: H,
    timeouts: Timeouts,
    limits: Limits,
    observer: Observer,
    sendfile: bool,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Server {
    /// Returns a server for a router, with default settings and without an end.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            handshake: Plain,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            observer: Observer::default(),
            sendfile: false,
            until: Box::pin(pending()),
        }
    }
}

impl<H> Server<H> {
    /// Sets the timeouts of connections and requests.
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Sets the limits on connections and requests.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets an observer of each request that the listener refuses by itself, with 400, 431, 501 or 503. No layer of
    /// the router sees those. The observer must not block. See also [`Overruled`](registry_core::service::Overruled),
    /// for 408.
    ///
    /// ```
    /// # fn server(app: axum::Router) -> registry_axum::server::Server {
    /// registry_axum::server::Server::new(app)
    ///     .on_refusal(|refused| println!("{} {:?}: {}", refused.peer, refused.line, refused.status))
    /// # }
    /// ```
    pub fn on_refusal(self, observer: impl Fn(Refused) + Send + Sync + 'static) -> Self {
        Self {
            observer: Observer::new(observer),
            ..self
        }
    }

    /// Lets the system send blobs that are files, from its page cache directly to the connection (`sendfile(2)`). This
    /// applies to plain TCP with HTTP/1, on Linux, from 64 KiB on. Everything else is streamed as usual.
    ///
    /// It costs a fraction of the CPU time. It is not the default because of one condition: no layer around the
    /// registry may read the bytes of these bodies. Their frames have the right lengths, so they can be counted, but
    /// they do not contain the blob. If a layer changes or replaces such a body, the connection is cut, so that nobody
    /// receives wrong bytes.
    ///
    /// A body that the registry produces for anything but a client of this server is not affected.
    pub fn sendfile(self) -> Self {
        Self {
            sendfile: true,
            ..self
        }
    }

    /// Sets the step before HTTP on each connection, such as TLS.
    pub fn handshake<Other>(self, handshake: Other) -> Server<Other> {
        Server {
            router: self.router,
            handshake,
            timeouts: self.timeouts,
            limits: self.limits,
            observer: self.observer,
            sendfile: self.sendfile,
            until: self.until,
        }
    }

    /// Sets the signal to end. Then no more connections are accepted, idle ones are closed, HTTP/2 peers are told, and
    /// running requests finish. The rest is cut off after [`Timeouts::drain`].
    pub fn until(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            until: Box::pin(signal),
            ..self
        }
    }

    /// Serves until the end. Failures to accept are logged, and serving continues. Dropping the future cuts off
    /// everything.
    ///
    /// Requests that may change something continue when their connection is cut off:
    /// [`Mount::drained`](crate::Mount::drained) waits for those.
    pub async fn serve<L>(self, mut listener: L) -> Ended
    where
        L: Listener,
        H: Handshake<L::Io>,
    {
        let stop = CancellationToken::new();
        let Self {
            router,
            handshake,
            timeouts,
            limits,
            observer,
            sendfile,
            mut until,
        } = self;
        let mut connections = Connections {
            shared: Arc::new(Shared {
                router,
                handshake,
                timeouts,
                limits,
                observer,
                sendfile,
                admission: Arc::new(Admission::new(limits.all_streams)),
                stop: stop.clone(),
                tls_hint: TlsHint::default(),
            }),
            running: JoinSet::new(),
            places: Places::new(limits.connections),
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
        // New connections are refused by the system from here on.
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

/// Outcome for the connections that were open when the server was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Number of connections that ended in time.
    pub finished: usize,
    /// Number of connections that were cut off at the deadline.
    pub cut: usize,
}

/// The open connections, each a task.
struct Connections<H> {
    shared: Arc<Shared<H>>,
    running: JoinSet<()>,
    places: Places,
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
        let shared = Arc::clone(&self.shared);
        if let Some(place) = self.places.take() {
            self.full = false;
            self.running.spawn(async move {
                connection::serve(&shared, io, peer, &place).await;
            });
            return;
        }
        if !std::mem::replace(&mut self.full, true) {
            let limit = shared.limits.connections;
            tracing::warn!(%peer, limit, "too many connections, and none waits for its client: new ones are refused");
        }
        if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.running.spawn(async move {
                connection::refuse(&shared, io, peer).await;
                drop(place);
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

/// Logs a panic of a handler, which ends its connection and nothing else.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request panicked; its connection is closed");
    }
}
