//! Blobs that the system sends from its page cache, over real sockets.
//!
//! The storage here has two contents: the file that it offers has other bytes than its stream. The received bytes show
//! which way was used.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use registry_core::{
    Algorithm, BoxError, Descriptor, Digest, Reference, Registry, RepositoryName, Storage, Tag,
    service::{RegistryService, ResponseBody},
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, FileRange, Listing, Page, ReadBlob, Referring,
        Result, StoredManifest,
    },
};
use registry_listener::{Established, Handshake, Listener, Plain, RequestBody, Server};
use rustix::net::sockopt::tcp_cork;
use std::{
    collections::HashMap,
    convert::Infallible,
    fs::File,
    io::{self, Write as _},
    net::SocketAddr,
    ops::Range,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::app::Around;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tower_service::Service as _;

/// The byte that streams consist of. The files do not contain it.
const STREAMED: u8 = b's';
/// Large enough for several calls, and for a repeated use of the region of stand-ins.
const LARGE: usize = (5 << 20) + 4321;

#[derive(Debug, Default)]
struct TwoFaced {
    files: HashMap<Digest, Arc<File>>,
    failures: Arc<AtomicU64>,
}

impl TwoFaced {
    fn with(mut self, content: &[u8]) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        self.files.insert(digest(content), Arc::new(file));
        self
    }

    fn file(&self, content: &[u8]) -> Arc<File> {
        Arc::clone(self.files.get(&digest(content)).unwrap())
    }
}

#[async_trait]
impl Storage for TwoFaced {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, _: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let file = self.files.get(digest);
        Ok(file.map(|file| BlobInfo::new(*digest, file.metadata().unwrap().len())))
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let Some(info) = self.blob(repository, digest).await? else {
            return Ok(None);
        };
        let range = how
            .range
            .map_or(0..info.size, |part| part.resolve(info.size).unwrap());
        let failures = Arc::clone(&self.failures);
        let file = FileRange::new(Arc::clone(&self.files[digest]), range.clone()).watched(move |_| {
            failures.fetch_add(1, Ordering::Relaxed);
        });
        let length = usize::try_from(range.end - range.start).unwrap();
        let content = Content::bytes(Bytes::from(vec![STREAMED; length])).with_file(file);
        Ok(Some(BlobRead::new(info, range, BlobBody::Content(content))))
    }

    async fn manifest(&self, _: &RepositoryName, _: &Reference) -> Result<Option<StoredManifest>> {
        Ok(None)
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        Ok(None)
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        Ok(Listing::first(page.limit, []))
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        Ok(Listing::first(page.limit, []))
    }
}

/// Returns pseudorandom bytes without [`STREAMED`].
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state.to_be_bytes()[0] {
            STREAMED => 0,
            byte => byte,
        }
    };
    (0..length).map(next).collect()
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

type Service = RegistryService<RequestBody>;

fn registry(storage: TwoFaced) -> Service {
    Registry::builder(storage).build().into_service(|task| {
        tokio::spawn(task);
    })
}

/// A layer that sees each response.
fn map_response<B>(
    service: Service,
    map: impl Fn(Response<ResponseBody>) -> Response<B> + Clone + Send + 'static,
) -> impl tower_service::Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    B: 'static,
{
    Around(service, move |mut service: Service, request| {
        let map = map.clone();
        async move {
            let Ok(response) = service.call(request).await;
            map(response)
        }
    })
}

/// Serves until the test's runtime ends.
async fn serve<S, B, H>(app: S, with: impl FnOnce(Server<Plain>) -> Server<H>) -> SocketAddr
where
    S: tower_service::Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
    H: Handshake<TcpStream>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(with(Server::new(app)).serve(listener));
    address
}

struct Client(TcpStream);

impl Client {
    async fn of(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, method: &str, content: &[u8], headers: &str) {
        let target = format!("/v2/a/blobs/{}", digest(content));
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The head of the next answer.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn get(&mut self, content: &[u8], range: Option<Range<usize>>) -> Vec<u8> {
        let (headers, status, length) = match range {
            None => (String::new(), "HTTP/1.1 200", content.len()),
            Some(range) => (
                format!("Range: bytes={}-{}\r\n", range.start, range.end - 1),
                "HTTP/1.1 206",
                range.len(),
            ),
        };
        self.send("GET", content, &headers).await;
        let head = self.head().await;
        assert!(head.starts_with(status), "{head}");
        assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
        self.body(length).await
    }

    /// Everything until the connection is closed or reset.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

#[track_caller]
fn assert_same(received: &[u8], expected: &[u8]) {
    assert_eq!(received.len(), expected.len());
    let differs = received.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first byte that differs");
}

#[tokio::test]
async fn blobs_and_parts_of_them_arrive_whole_on_one_connection() {
    let blob = content(1, LARGE);
    let other = content(2, 1 << 20);
    let address = serve(
        registry(TwoFaced::default().with(&blob).with(&other)),
        Server::sendfile,
    )
    .await;
    let mut client = Client::of(address).await;

    assert_same(&client.get(&blob, None).await, &blob);
    for range in [
        0..64 << 10,
        1..LARGE,
        LARGE - 100_000..LARGE,
        (512 << 10) - 1..(1 << 20) + 1,
        7..(3 << 20) + 7,
    ] {
        assert_same(&client.get(&blob, Some(range.clone())).await, &blob[range]);
    }
    assert_same(&client.get(&other, None).await, &other);
    assert_same(&client.get(&blob, None).await, &blob);
}

#[tokio::test]
async fn small_bodies_are_streamed_with_their_heads() {
    let blob = content(1, LARGE);
    let address = serve(registry(TwoFaced::default().with(&blob)), Server::sendfile).await;
    let mut client = Client::of(address).await;

    assert_same(&client.get(&blob, Some(0..10 << 10)).await, &[STREAMED; 10 << 10]);
    assert_same(&client.get(&blob, Some(0..64 << 10)).await, &blob[..64 << 10]);
}

#[tokio::test]
async fn answers_to_pipelined_requests_keep_their_order() {
    let (first, second) = (content(1, LARGE), content(2, LARGE - 7));
    let storage = TwoFaced::default().with(&first).with(&second);
    let address = serve(registry(storage), Server::sendfile).await;
    let mut client = Client::of(address).await;

    client.send("GET", &first, "").await;
    client.send("HEAD", &second, "").await;
    client.send("GET", &second, "").await;
    client.send("GET", &first, "Range: bytes=0-9\r\n").await;
    client.send("GET", &first, "Range: bytes=5-999999\r\n").await;

    client.head().await;
    assert_same(&client.body(first.len()).await, &first);
    assert!(
        client
            .head()
            .await
            .contains(&format!("content-length: {}\r\n", second.len()))
    );
    client.head().await;
    assert_same(&client.body(second.len()).await, &second);
    client.head().await;
    assert_same(&client.body(10).await, &[STREAMED; 10]);
    client.head().await;
    assert_same(&client.body(999_995).await, &first[5..1_000_000]);
    assert_same(&client.get(&second, None).await, &second);
}

#[tokio::test]
async fn a_client_that_reads_small_parts_gets_every_byte() {
    let blob = content(1, 2 << 20);
    let address = serve(registry(TwoFaced::default().with(&blob)), Server::sendfile).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(address).await.unwrap());

    client.send("GET", &blob, "").await;
    client.head().await;
    let mut received = Vec::new();
    while received.len() < blob.len() {
        let part = client
            .body((blob.len() - received.len()).min(1 + received.len() % 5000))
            .await;
        received.extend(part);
        tokio::task::yield_now().await;
    }

    assert_same(&received, &blob);
    assert_same(&client.get(&blob, None).await, &blob);
}

#[tokio::test]
async fn a_file_is_released_when_the_client_disconnects() {
    let blob = content(1, 32 << 20);
    let storage = TwoFaced::default().with(&blob);
    let file = storage.file(&blob);
    let address = serve(registry(storage), Server::sendfile).await;
    let held = Arc::strong_count(&file);
    let mut client = Client::of(address).await;
    client.send("GET", &blob, "").await;
    client.head().await;
    client.body(100_000).await;
    assert!(Arc::strong_count(&file) > held);

    drop(client);

    let let_go = async {
        while Arc::strong_count(&file) > held {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), let_go)
        .await
        .unwrap();
    assert_same(&Client::of(address).await.get(&blob, None).await, &blob);
}

#[tokio::test]
async fn a_file_that_has_become_shorter_cuts_the_connection_and_is_reported() {
    let blob = content(1, LARGE);
    let storage = TwoFaced::default().with(&blob);
    let (file, failures) = (storage.file(&blob), Arc::clone(&storage.failures));
    // The file is complete when the answer begins.
    let shortening = map_response(registry(storage), move |response| {
        file.set_len(1_000_000).unwrap();
        response
    });
    let address = serve(shortening, Server::sendfile).await;
    let mut client = Client::of(address).await;

    client.send("GET", &blob, "").await;
    let head = client.head().await;
    assert!(head.contains(&format!("content-length: {LARGE}\r\n")), "{head}");

    assert_same(&client.rest().await, &blob[..1_000_000]);
    assert_eq!(failures.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn bytes_that_are_not_in_memory_are_read_first() {
    let blob = content(1, LARGE);
    let storage = TwoFaced::default().with(&blob);
    let file = storage.file(&blob);
    file.sync_all().unwrap();
    rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let address = serve(registry(storage), Server::sendfile).await;

    assert_same(&Client::of(address).await.get(&blob, None).await, &blob);
}

/// A listener that keeps the other end of each connection for inspection.
struct Observed(TcpListener, Arc<Mutex<Vec<OwnedFd>>>);

impl Listener for Observed {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = Listener::accept(&mut self.0).await?;
        let socket = accepted.0.as_fd().try_clone_to_owned()?;
        self.1.lock().unwrap().push(socket);
        Ok(accepted)
    }
}

/// Waits until partial segments are held back, or are not, on the only connection.
async fn corked(sockets: &Mutex<Vec<OwnedFd>>, corked: bool) {
    let observed = async {
        let is = |socket: &OwnedFd| tcp_cork(socket).unwrap() == corked;
        while !sockets.lock().unwrap().first().is_some_and(is) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), observed)
        .await
        .unwrap_or_else(|_| panic!("corked: {}", !corked));
}

/// Without a cork, each call of `sendfile` may send a partial segment.
#[tokio::test]
async fn a_file_is_sent_in_full_segments_and_its_end_without_delay() {
    let blob = content(1, 8 << 20);
    let app = registry(TwoFaced::default().with(&blob));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sockets: Arc<Mutex<Vec<OwnedFd>>> = Arc::default();
    tokio::spawn(
        Server::new(app)
            .sendfile()
            .serve(Observed(listener, Arc::clone(&sockets))),
    );
    // A small buffer, so that most of the file waits while the client does not read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(address).await.unwrap());

    for _ in 0..2 {
        // An answer that is streamed, and one after the file.
        client.get(&blob, Some(0..10)).await;
        corked(&sockets, false).await;
        client.send("GET", &blob, "").await;
        client.send("GET", &blob, "Range: bytes=0-9\r\n").await;

        client.head().await;
        corked(&sockets, true).await;
        assert_same(&client.body(blob.len()).await, &blob);
        corked(&sockets, false).await;
        client.head().await;
        assert_same(&client.body(10).await, &[STREAMED; 10]);
        corked(&sockets, false).await;
    }
}

#[tokio::test]
async fn bodies_are_streamed_unless_the_host_allows_it() {
    let blob = content(1, 1 << 20);
    let address = serve(registry(TwoFaced::default().with(&blob)), |server| server).await;

    let received = Client::of(address).await.get(&blob, None).await;

    assert_same(&received, &vec![STREAMED; blob.len()]);
}

/// A handshake after which the connection is not the bare socket, as with TLS.
struct Wrapped;

impl Handshake<TcpStream> for Wrapped {
    type Io = BufStream<TcpStream>;

    async fn handshake(&self, io: TcpStream, _: SocketAddr) -> io::Result<Established<Self::Io>> {
        Ok(Established::new(BufStream::new(io)))
    }
}

#[tokio::test]
async fn bodies_are_streamed_on_connections_that_are_not_bare_sockets() {
    let blob = content(1, 1 << 20);
    let app = registry(TwoFaced::default().with(&blob));
    let address = serve(app, |server| server.sendfile().handshake(Wrapped)).await;

    let received = Client::of(address).await.get(&blob, None).await;

    assert_same(&received, &vec![STREAMED; blob.len()]);
}

#[tokio::test]
async fn http_2_is_streamed() {
    let blob = content(1, 1 << 20);
    let address = serve(registry(TwoFaced::default().with(&blob)), Server::sendfile).await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);

    let target = format!("http://a/v2/a/blobs/{}", digest(&blob));
    let request = Request::get(target).body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let received = response.into_body().collect().await.unwrap().to_bytes();

    assert_same(&received, &vec![STREAMED; blob.len()]);
}

#[tokio::test]
async fn a_layer_that_counts_frames_counts_the_bytes_that_are_sent() {
    let blob = content(1, LARGE);
    let counted = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&counted);
    let app = map_response(registry(TwoFaced::default().with(&blob)), move |response| {
        let counter = Arc::clone(&counter);
        response.map(|body| {
            body.map_frame(move |frame| {
                counter.fetch_add(frame.data_ref().unwrap().len() as u64, Ordering::Relaxed);
                frame
            })
        })
    });
    let address = serve(app, Server::sendfile).await;

    assert_same(&Client::of(address).await.get(&blob, None).await, &blob);
    assert_eq!(counted.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_layer_that_changes_bodies_makes_pulls_fail_and_never_delivers_wrong_bytes() {
    let blob = content(1, 1 << 20);
    type Layer = fn(Bytes) -> Bytes;
    let copying: Layer = |data| Bytes::copy_from_slice(&data);
    let cutting: Layer = |data| data.slice(1..);
    let around = |layer: Layer| {
        map_response(registry(TwoFaced::default().with(&blob)), move |response| {
            response.map(|body| body.map_frame(move |frame| frame.map_data(layer)))
        })
    };
    for app in [around(copying), around(cutting)] {
        let address = serve(app, Server::sendfile).await;
        let mut client = Client::of(address).await;
        client.send("GET", &blob, "").await;

        let received = client.rest().await;

        let end = received.windows(4).position(|end| end == b"\r\n\r\n");
        assert!(
            end.is_none_or(|end| end + 4 == received.len()),
            "not a byte of a body"
        );
    }

    // Without `sendfile`, such a layer works.
    let address = serve(around(copying), |server| server).await;
    let received = Client::of(address).await.get(&blob, None).await;
    assert_same(&received, &vec![STREAMED; blob.len()]);
}
