//! [`HttpServer`]: an HTTP/1 server on a thread of its own, and [`send`], one request to another server.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle, Runtime},
    task::{JoinHandle, JoinSet},
};

/// Number of connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The body of a request, which may be on its way. Fails if the client gives up before its end.
pub(crate) type Arriving = BoxFuture<'static, io::Result<Bytes>>;

/// Answers requests. `None` closes the connection without an answer.
pub(crate) type Answerer =
    Arc<dyn Fn(Request<Arriving>) -> BoxFuture<'static, Option<Response<Bytes>>> + Send + Sync>;

/// An HTTP/1 server on a loopback address. It runs on a thread of its own, so that a test may block.
pub(crate) struct HttpServer {
    runtime: Option<Runtime>,
    address: SocketAddr,
    /// Holds the port while nothing listens.
    _reserved: Socket,
    answerer: Answerer,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl HttpServer {
    pub(crate) fn start(answerer: Answerer) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-stores")
            .enable_all()
            .build()?;
        let reserved = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = reserved
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        let server = Self {
            runtime: Some(runtime),
            address,
            _reserved: reserved,
            answerer,
            accepting: Mutex::new(None),
        };
        server.accept()?;
        Ok(server)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime
            .as_ref()
            .expect("the runtime ends with the server")
            .handle()
    }

    /// Accepts connections, unless it does already.
    pub(crate) fn accept(&self) -> io::Result<()> {
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if accepting.is_none() {
            let socket = bind(self.address)?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            let _entered = self.handle().enter();
            let listener = TcpListener::from_std(socket.into())?;
            *accepting = Some(self.handle().spawn(accept(listener, Arc::clone(&self.answerer))));
        }
        Ok(())
    }

    /// Refuses connections from now on, and cuts the open ones. Requests that have arrived go on.
    pub(crate) async fn refuse(&self) {
        let accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // The listener is closed when the task has ended.
            let _ = accepting.await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not block another one, in whose test it may be dropped.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Binds a port that several sockets of this process share. Only one of them listens.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(listener: TcpListener, answerer: Answerer) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&answerer)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, answerer: Answerer) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answerer = Arc::clone(&answerer);
        async move {
            let (parts, body) = request.into_parts();
            let body: Arriving = Box::pin(async {
                let body = body.collect().await.map_err(io::Error::other)?;
                Ok(body.to_bytes())
            });
            // A task of its own: a request that has arrived takes effect, even if the client gives up.
            let answered = tokio::spawn(answerer(Request::from_parts(parts, body))).await;
            match answered.map_err(io::Error::other)? {
                Some(response) => Ok(response.map(Full::new)),
                None => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            }
        }
    });
    // Fails if the client closes the connection, or the answerer wants it closed.
    let _ = server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Sends one request on a connection of its own, and reads the whole answer.
pub(crate) async fn send(server: SocketAddr, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    unframe(&mut parts.headers);
    let response = sender
        .send_request(Request::from_parts(parts, Full::new(body)))
        .await
        .map_err(io::Error::other)?;
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    // The length of what a HEAD does not send is content for the client.
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .filter(|_| body.is_empty())
        .cloned();
    unframe(&mut parts.headers);
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(Response::from_parts(parts, body))
}

/// Removes what belongs to one connection: the body is whole, and its new length is told by whoever sends it.
fn unframe(headers: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}
