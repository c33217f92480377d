//! A [`Server`] whose connections are pipes in memory, so that tests can pause the time; and a client that sends
//! malformed bytes.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod app;

use http::{Request, Response};
use http_body::Body;
use registry_core::BoxError;
use registry_listener::{Ended, Handshake, Listener, Plain, RequestBody, Server};
use std::{future::pending, io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tower_service::Service;

/// Number of bytes that a pipe holds before its reader has to read.
const PIPE: usize = 64 << 10;

pub(crate) const PEER: &str = "192.0.2.7:4711";

/// A listener that receives connections, or failures to accept one, from a channel.
struct Pipes(mpsc::UnboundedReceiver<io::Result<DuplexStream>>);

impl Listener for Pipes {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok((connection?, PEER.parse().unwrap())),
            None => pending().await,
        }
    }
}

/// A server that runs, until it is told to stop.
pub(crate) struct Running {
    connect: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Ended>,
}

impl Running {
    pub(crate) fn of<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::start(service, |server| server)
    }

    pub(crate) fn start<S, B, H>(service: S, with: impl FnOnce(Server<Plain>) -> Server<H>) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
        H: Handshake<DuplexStream>,
    {
        let (connect, connections) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let server = with(Server::new(service)).until(async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        });
        Self {
            connect,
            stop: Some(stop),
            ended: tokio::spawn(server.serve(Pipes(connections))),
        }
    }

    /// Returns the client's end of a new connection.
    pub(crate) fn pipe(&self) -> DuplexStream {
        let (client, server) = duplex(PIPE);
        self.connect.send(Ok(server)).unwrap();
        client
    }

    pub(crate) fn connect(&self) -> Client {
        Client(self.pipe())
    }

    /// Makes the next accept fail.
    pub(crate) fn fail_to_accept(&self, error: io::Error) {
        self.connect.send(Err(error)).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) -> Ended {
        self.ended.await.unwrap()
    }
}

/// One end of a connection, for raw bytes.
pub(crate) struct Client(pub(crate) DuplexStream);

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends until the other end closes. Returns true if everything was sent.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Reads the next answer, whose body has a `Content-Length`.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer(true).await.expect("an answer")
    }

    /// Reads the next answer, to a `HEAD`.
    pub(crate) async fn head(&mut self) -> Answer {
        self.try_answer(false).await.expect("an answer")
    }

    async fn try_answer(&mut self, body: bool) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut answer = Answer {
            head,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if body {
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes).await.ok()?;
            answer.body = String::from_utf8(bytes).unwrap();
        }
        Some(answer)
    }

    /// Sends a request, and reads its answer.
    pub(crate) async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// Waits until the other end has closed, and returns what it sent until then.
    pub(crate) async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Asserts an error in the format of the specification, on a connection that is closed after it.
    pub(crate) fn assert_refusal(&self, status: u16) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("connection"), Some("close"), "{self:?}");
        assert!(self.body.starts_with(r#"{"errors":[{"code":""#), "{self:?}");
    }
}
