//! Evicted connections at the limit: those that wait for their clients, never one whose response is due.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use registry_listener::{ConnectionLimits, RequestBody};
use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};
use support::{
    Client, Running,
    app::{App, Body, full},
};
use tokio::{sync::Notify, time::sleep};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const HUGE: &str = "GET /huge HTTP/1.1\r\nHost: x\r\n\r\n";

/// Returns a server with this limit of connections, and the signal that lets `/owed`, `/kept` and `/after` continue.
fn server(connections: usize) -> (Running, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let [owed, kept, after] = [(); 3].map(|()| Arc::clone(&go));
    let app = App::default()
        .get("/", || async { full("hello") })
        .get("/huge", || async { full(vec![b'x'; 32 << 20]) })
        .get("/large", || async { full(vec![b'x'; 1 << 20]) })
        .post("/echo", |body| async { full(body) })
        .get("/owed", move || done_after(Arc::clone(&owed)))
        .on(Method::POST, "/kept", move |request| {
            answers_while_a_body_comes(Arc::clone(&kept), request)
        })
        .post("/after", move |_| done_after(Arc::clone(&after)));
    let server = Running::start(app, |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = connections;
        server.limits(limits)
    });
    (server, go)
}

async fn done_after(go: Arc<Notify>) -> Body {
    go.notified().await;
    full("done")
}

/// Polls the body once, and keeps it while it sends its answer.
async fn answers_while_a_body_comes(go: Arc<Notify>, request: Request<RequestBody>) -> Response<Body> {
    let mut body = request.into_body();
    let first = poll_fn(|context| Poll::Ready(Pin::new(&mut body).poll_frame(context).is_pending())).await;
    assert!(first, "nothing has come");
    let answer = futures_util::stream::once(async move {
        go.notified().await;
        drop(body);
        Ok(Frame::data(Bytes::from_static(b"done")))
    });
    let mut response = Response::new(StreamBody::new(answer).boxed_unsync());
    response.headers_mut().insert("content-length", 4.into());
    response
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns true if the server has closed a connection from which nothing was read: it accepts no more bytes.
async fn has_ended(client: &mut Client) -> bool {
    !client.try_send(b"G").await
}

#[tokio::test(start_paused = true)]
async fn of_incomplete_heads_the_longest_is_evicted_first() {
    let (server, _) = server(2);
    let mut short = server.connect();
    short.send("G").await;
    sleep(seconds(1)).await;
    let mut long = server.connect();
    long.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(30_000)))
        .await;
    sleep(seconds(6)).await;

    assert_eq!(server.connect().ask(GET).await.body, "hello");

    assert_eq!(long.closed().await, "");
    short.send("ET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(short.answer().await.body, "hello");
}

/// The memory of a request is released with it.
#[tokio::test(start_paused = true)]
async fn memory_of_an_earlier_request_does_not_count() {
    let (server, _) = server(2);
    let mut earlier = server.connect();
    let body = "x".repeat(1 << 20);
    earlier
        .send(format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    earlier.send(&body).await;
    assert_eq!(earlier.answer().await.body, body);
    earlier.send("G").await;
    let mut long = server.connect();
    long.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(30_000)))
        .await;
    sleep(seconds(6)).await;

    assert_eq!(server.connect().ask(GET).await.body, "hello");

    assert_eq!(long.closed().await, "");
    earlier.send("ET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(earlier.answer().await.body, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_sending_is_not_evicted() {
    let (server, _) = server(1);
    let mut slow = server.connect();
    slow.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        .await;
    for _ in 0..9 {
        slow.send("x").await;
        sleep(seconds(4)).await;
    }
    server.connect().ask(GET).await.assert_refusal(503);
    slow.send("x").await;
    assert_eq!(slow.answer().await.body, "xxxxxxxxxx");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_reading_is_not_evicted() {
    let (server, _) = server(1);
    let mut slow = server.connect();
    slow.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    slow.head().await;
    let mut some = vec![0; 128 << 10];
    for _ in 0..8 {
        sleep(seconds(4)).await;
        server.connect().ask(GET).await.assert_refusal(503);
        tokio::io::AsyncReadExt::read_exact(&mut slow.0, &mut some)
            .await
            .unwrap();
    }
    assert_eq!(slow.ask(GET).await.body, "hello");
}

/// The end of a chunked body may arrive long after its last byte.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_the_end_of_a_body_is_not_evicted() {
    let (server, go) = server(1);
    let mut client = server.connect();
    client
        .send("POST /after HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        .await;
    sleep(seconds(4)).await;
    client.send("0\r\n\r\n").await;
    sleep(seconds(4)).await;

    server.connect().ask(GET).await.assert_refusal(503);
    go.notify_one();
    assert_eq!(client.answer().await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_answer_has_begun_does_not_wait_for_the_body() {
    let (server, go) = server(1);
    let mut client = server.connect();
    client
        .send("POST /kept HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    sleep(seconds(8)).await;

    server.connect().ask(GET).await.assert_refusal(503);
    go.notify_one();
    let mut body = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut client.0, &mut body)
        .await
        .unwrap();
    assert_eq!(&body, b"done");
}

/// A client that has read one answer may not read the next one.
#[tokio::test(start_paused = true)]
async fn the_first_write_timeout_applies_to_each_answer() {
    let (server, _) = server(9);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(seconds(50)).await;
    assert_eq!(client.answer().await.body.len(), 1 << 20);

    client.send(HUGE).await;
    for (after, ended) in [(59, false), (2, true)] {
        sleep(seconds(after)).await;
        assert_eq!(has_ended(&mut client).await, ended);
    }
}

// HTTP/2.

type Http2 = h2::client::SendRequest<Bytes>;

/// The window of its connection is larger than that of one request.
async fn http2(server: &Running) -> Http2 {
    let (client, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1 << 20)
        .handshake(server.pipe())
        .await
        .unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn begin(client: &mut Http2, path: &str) -> h2::client::ResponseFuture {
    let request = Request::get(format!("http://x{path}")).body(()).unwrap();
    client.send_request(request, true).unwrap().0
}

#[tokio::test(start_paused = true)]
async fn over_http2_one_answer_that_is_due_keeps_the_connection() {
    for owed_first in [true, false] {
        let (server, go) = server(1);
        let mut client = http2(&server).await;
        let (owed, untaken) = if owed_first {
            let owed = begin(&mut client, "/owed");
            (owed, begin(&mut client, "/huge").await.unwrap())
        } else {
            let untaken = begin(&mut client, "/huge").await.unwrap();
            (begin(&mut client, "/owed"), untaken)
        };
        let owed = tokio::spawn(owed);
        sleep(seconds(8)).await;

        server.connect().ask(GET).await.assert_refusal(503);
        go.notify_one();
        let mut answer = owed.await.unwrap().unwrap().into_body();
        assert_eq!(answer.data().await.unwrap().unwrap(), "done");
        drop(untaken);
    }
}

/// The wait of a connection is that of its latest request.
#[tokio::test(start_paused = true)]
async fn over_http2_a_connection_waits_as_long_as_its_latest_request() {
    let (server, _) = server(1);
    let mut client = http2(&server).await;
    let first = begin(&mut client, "/huge").await.unwrap();
    sleep(seconds(4)).await;
    let second = begin(&mut client, "/huge").await.unwrap();
    sleep(seconds(3)).await;
    server.connect().ask(GET).await.assert_refusal(503);

    sleep(seconds(3)).await;
    assert_eq!(server.connect().ask(GET).await.body, "hello");
    drop((first, second));
}
