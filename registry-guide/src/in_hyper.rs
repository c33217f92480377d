//! A registry in a program with hyper alone.
//!
//! At the end of this page you have a server with HTTP/1.1 and HTTP/2 on one port. It completes the pushes of clients that
//! have left, and stops without cutting off requests.
//!
//! # The registry as a service
//!
//! [`Registry::into_service`] is a service of tower, which [`TowerToHyperService`] adapts for hyper. Every request that may
//! change something is a task of its own, which you spawn: hyper drops the future of a request when its client disconnects.
//!
//! [`TowerToHyperService`]: https://docs.rs/hyper-util/latest/hyper_util/service/struct.TowerToHyperService.html
//!
//! ```
//! use http::Request;
//! use hyper::body::Incoming;
//! use hyper_util::{
//!     rt::{TokioExecutor, TokioIo, TokioTimer},
//!     server::{conn::auto, graceful::GracefulShutdown},
//!     service::TowerToHyperService,
//! };
//! use registry_core::{Registry, auth::ClientAddress};
//! use std::{pin::pin, time::Duration};
//! use tokio::{net::TcpListener, task::JoinSet, time::{sleep, timeout}};
//! use tokio_util::task::TaskTracker;
//! use tower::ServiceExt as _;
//!
//! async fn serve(registry: Registry, listener: TcpListener, stop: impl Future<Output = ()>) {
//!     // The operations that outlive their clients.
//!     let operations = TaskTracker::new();
//!     let spawner = operations.clone();
//!     let service = registry.into_service::<Incoming>(move |operation| {
//!         spawner.spawn(operation);
//!     });
//!
//!     let mut builder = auto::Builder::new(TokioExecutor::new());
//!     builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
//!     builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(60));
//!
//!     // Accept connections until the signal.
//!     let connections = GracefulShutdown::new();
//!     let mut tasks = JoinSet::new();
//!     let mut stop = pin!(stop);
//!     loop {
//!         let accepted = tokio::select! {
//!             accepted = listener.accept() => accepted,
//!             () = &mut stop => break,
//!         };
//!         let (connection, peer) = match accepted {
//!             Ok(accepted) => accepted,
//!             Err(error) => {
//!                 // The client has left, or too many files are open. Later connections are accepted again.
//!                 eprintln!("cannot accept a connection: {error}");
//!                 sleep(Duration::from_millis(100)).await;
//!                 continue;
//!             }
//!         };
//!         // Limits of anonymous clients are by address.
//!         let service = service.clone().map_request(move |mut request: Request<Incoming>| {
//!             request.extensions_mut().insert(ClientAddress(peer));
//!             request
//!         });
//!         let service = TowerToHyperService::new(service);
//!         let served = builder.serve_connection(TokioIo::new(connection), service).into_owned();
//!         tasks.spawn(connections.watch(served));
//!         while tasks.try_join_next().is_some() {}
//!     }
//!     drop(listener);
//!
//!     // Let requests finish for a while. Then end the connections that are left, so that no operation waits for the bytes
//!     // of a client that has stalled, and complete what changes something.
//!     _ = timeout(Duration::from_secs(8), connections.shutdown()).await;
//!     tasks.shutdown().await;
//!     operations.close();
//!     operations.wait().await;
//! }
//!
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # #[tokio::main]
//! # async fn main() {
//! # use registry_core::storage::MemoryStorage;
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! # let (host, listener) = listener().await;
//! # let (stop, stopped) = tokio::sync::oneshot::channel();
//! let running = serve(registry, listener, async {
//!     // For example tokio::signal::ctrl_c().
//! #   stopped.await.unwrap_or(())
//! });
//! # let running = tokio::spawn(running);
//! # push_and_pull(&format!("{host}/team/app"), &[b'x'; 3 << 20]).await;
//! # let connection = TokioIo::new(tokio::net::TcpStream::connect(&host).await.unwrap());
//! # let (mut http2, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), connection).await.unwrap();
//! # let driver = tokio::spawn(driver);
//! # let request = http::Request::get(format!("http://{host}/v2/team/app/tags/list")).body(String::new()).unwrap();
//! # let response = http2.send_request(request).await.unwrap();
//! # assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
//! # stop.send(()).unwrap();
//! # running.await.unwrap();
//! # driver.await.unwrap().unwrap();
//! # }
//! ```
//!
//! # What this server lacks
//!
//! Hyper bounds heads, and nothing else of the above is bounded: the number of connections, clients that send or read
//! nothing, and requests that a proxy could read differently. On an open network, use
//! [`registry_listener::Server`] with the same service. It has these bounds, the signal for the shutdown, and TLS:
//!
//! ```
//! # use registry_core::{Registry, storage::MemoryStorage};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # #[tokio::main]
//! # async fn main() {
//! # let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! # let (host, listener) = listener().await;
//! # let (stop, stopped) = tokio::sync::oneshot::channel();
//! # let stop_signal = async { stopped.await.unwrap_or(()) };
//! let operations = tokio_util::task::TaskTracker::new();
//! let spawner = operations.clone();
//! let service = registry.into_service(move |operation| { spawner.spawn(operation); });
//!
//! let server = registry_listener::Server::new(service).until(stop_signal);
//! # let served = tokio::spawn(async move {
//! server.serve(listener).await;
//! # });
//! # push_and_pull(&format!("{host}/team/app"), b"content").await;
//! # stop.send(()).unwrap();
//! # served.await.unwrap();
//! operations.close();
//! operations.wait().await;
//! # }
//! ```
//!
//! # Without a service
//!
//! [`Registry::handle`] answers one request, if you route requests yourself. Spawn it, and do not drop it with the
//! connection. If your listener knows the address of a client, put a [`ClientAddress`] into the extensions: failed logins
//! and open uploads of anonymous clients are limited by it.
//!
//! The upkeep needs a clock. With tokio it is `registry_axum::TokioClock`; a clock of your own is two functions, see
//! [`duties`](crate::duties).

#[cfg(doc)]
use registry_core::{Registry, auth::ClientAddress};
