//! Head and body of a small answer are sent in one write. Two writes would be two packets, and a client that delays its
//! acknowledgements would wait 40 ms for the second one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use registry_core::{Registry, service::RegistryService};
use registry_listener::{Listener, RequestBody, Server};
use registry_storage_fs::FsStorage;
use std::{
    future::pending,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};

type Writes = Arc<Mutex<Vec<usize>>>;

/// A connection that records the length of each write.
struct Counting(DuplexStream, Writes);

impl Counting {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = written {
            self.1.lock().unwrap().push(length);
        }
        written
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A listener with a single connection.
struct One(Option<Counting>);

impl Listener for One {
    type Io = Counting;

    async fn accept(&mut self) -> io::Result<(Counting, SocketAddr)> {
        match self.0.take() {
            Some(connection) => Ok((connection, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => pending().await,
        }
    }
}

fn serve(service: RegistryService<RequestBody>) -> (DuplexStream, Writes) {
    let (client, server) = duplex(1 << 20);
    let writes = Writes::default();
    let connection = Counting(server, Arc::clone(&writes));
    tokio::spawn(Server::new(service).serve(One(Some(connection))));
    (client, writes)
}

/// Sends a request and reads an answer that ends with `body`.
async fn ask(client: &mut DuplexStream, request: &str, body: &[u8]) {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(body) || answer.len() == body.len() {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn small_blobs_manifests_and_errors_are_one_write_each() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::builder(FsStorage::open(directory.path()).unwrap()).build();
    let repository = registry.repository("team/app").unwrap();
    let (mut client, writes) = serve(registry.into_service(|task| {
        tokio::spawn(task);
    }));
    for size in [1, 2_000, 10 << 10, 100 << 10] {
        let content = "x".repeat(size);
        let digest = repository.push_blob(content.clone(), None).await.unwrap().digest;

        let request = format!("GET /v2/team/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
        ask(&mut client, &request, format!("\r\n\r\n{content}").as_bytes()).await;

        let written = std::mem::take(&mut *writes.lock().unwrap());
        assert_eq!(written.len(), 1, "{size}: {written:?}");
    }

    let missing = "GET /v2/team/app/manifests/none HTTP/1.1\r\nHost: x\r\n\r\n";
    ask(&mut client, missing, b"}]}").await;
    assert_eq!(writes.lock().unwrap().len(), 1);
}
