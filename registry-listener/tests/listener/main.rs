//! The listener, over pipes in memory and in paused time: its timeouts and limits, and their effects.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod early;
mod over_http2;
mod refusals;
mod services;
#[path = "../support/mod.rs"]
mod support;
mod unlimited;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use registry_core::{auth::ClientAddress, service::Overruled};
use registry_listener::{ConnectionLimits, Established, Handshake, Protocol, Server, Timeouts};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{
    Client, PEER, Running,
    app::{App, Body, full, pieces, status},
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    sync::Notify,
    time::{Instant, sleep},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn app() -> App {
    App::default()
        .get("/", || async { full("hello") })
        .post("/echo", |body| async { full(body) })
        .get("/large", || async { full(vec![b'x'; 1 << 20]) })
        .on(Method::GET, "/frames", |_| frames())
        .get("/huge", || async { full(vec![b'x'; 32 << 20]) })
}

/// Returns as many bytes as `/large`, in pieces.
async fn frames() -> Response<Body> {
    let piece = Bytes::from(vec![b'x'; 8 << 10]);
    let mut response = Response::new(pieces((0..128).map(move |_| piece.clone())));
    response.headers_mut().insert("content-length", (1 << 20).into());
    response
}

/// Returns the number of seconds until the server closes.
async fn open_for(client: &mut Client) -> u64 {
    let begun = Instant::now();
    client.closed().await;
    begun.elapsed().as_secs()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Http2 = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(pipe: DuplexStream) -> Http2 {
    let io = hyper_util::rt::TokioIo::new(pipe);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    client
}

fn h2_request(path: &str) -> http::Request<Empty<Bytes>> {
    let uri = format!("http://x{path}");
    http::Request::get(uri).body(Empty::new()).unwrap()
}

async fn h2_get(client: &mut Http2, path: &str) -> String {
    client.ready().await.unwrap();
    let answer = client.send_request(h2_request(path)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Refuses every upload without reading it.
fn refusing() -> App {
    app().on(Method::POST, "/refused", |_| async {
        status(StatusCode::UNAUTHORIZED, "no")
    })
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let server = Running::of(app());
    let mut silent = server.connect();
    let mut half_a_preface = server.connect();
    half_a_preface.send("PRI * HT").await;

    assert_eq!(open_for(&mut silent).await, 30);
    half_a_preface.closed().await;
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_head_does_not_depend_on_its_pieces() {
    let server = Running::of(app());
    let mut stuck = server.connect();
    stuck.send("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(open_for(&mut stuck).await, 30);

    let mut dripping = server.connect();
    let begun = Instant::now();
    dripping.send("GET / HTTP/1.1\r\nX: ").await;
    while dripping.try_send(b"x").await {
        sleep(seconds(1)).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn the_time_between_requests_and_the_time_for_a_head_are_separate() {
    let server = Running::of(app());
    let mut client = server.connect();
    assert_eq!(client.ask(GET).await.body, "hello");

    sleep(seconds(299)).await;
    assert_eq!(client.ask(GET).await.body, "hello");
    assert_eq!(open_for(&mut client).await, 300);

    let mut client = server.connect();
    assert_eq!(client.ask(GET).await.body, "hello");
    sleep(seconds(100)).await;
    client.send("GET").await;
    assert_eq!(open_for(&mut client).await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_no_time_limit_while_it_makes_progress() {
    let server = Running::of(app());
    let mut client = server.connect();
    client
        .send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        .await;
    for _ in 0..50 {
        client.send("x").await;
        sleep(seconds(899)).await;
    }
    let begun = Instant::now();
    client.send("x").await;

    let answer = client.answer().await;

    answer.assert_refusal(408);
    assert_eq!(begun.elapsed().as_secs(), 900);
    // The client has received the answer although it may still be sending.
    assert_eq!(open_for(&mut client).await, 0);
}

/// One answer is passed on in a single piece, and the other is produced in pieces.
#[tokio::test(start_paused = true)]
async fn an_answer_has_no_time_limit_while_it_makes_progress() {
    let server = Running::of(app());
    for path in ["/large", "/frames"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut slow = server.connect();
        slow.send(&request).await;
        slow.head().await;
        let mut some = vec![0; 64 << 10];
        // The first part is read within the first write timeout.
        for pause in [59].into_iter().chain([899; 14]) {
            sleep(seconds(pause)).await;
            slow.0.read_exact(&mut some).await.unwrap();
        }
        // The last part fits into the pipe. From here on the time between requests counts.
        slow.0.read_exact(&mut some).await.unwrap();
        assert_eq!(open_for(&mut slow).await, 300, "{path}");

        let mut stuck = server.connect();
        stuck.send(&request).await;
        stuck.head().await;
        stuck.0.read_exact(&mut some).await.unwrap();
        for (after, ended) in [(899, false), (2, true)] {
            sleep(seconds(after)).await;
            assert_eq!(server_has_ended(&mut stuck).await, ended, "{path}");
        }
        let rest = stuck.closed().await.len();
        assert!(rest < 100 << 10, "{path}: {rest}");
    }
}

/// Returns true if the server has closed a connection from which nothing was read: it accepts no more bytes.
async fn server_has_ended(client: &mut Client) -> bool {
    !client.try_send(b"G").await
}

/// The request costs the client a few bytes, and it may never read the answer.
#[tokio::test(start_paused = true)]
async fn an_answer_of_which_nothing_is_read_is_abandoned_soon() {
    let server = Running::of(app());
    for path in ["/large", "/frames"] {
        let mut client = server.connect();
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        for (after, ended) in [(59, false), (2, true)] {
            sleep(seconds(after)).await;
            assert_eq!(server_has_ended(&mut client).await, ended, "{path}");
        }
        let some = client.closed().await.len();
        assert!(some < 100 << 10, "{path}: {some}");
    }
}

/// The next request arrives after the rest of an unwanted body, while the answer is still being sent.
#[tokio::test(start_paused = true)]
async fn a_request_that_overtakes_an_answer_is_answered_without_delay() {
    let server = Running::of(app());
    for path in ["/large", "/frames"] {
        for left in (0..=16).map(|step| step * (8 << 10)) {
            let mut client = server.connect();
            client
                .send(format!(
                    "GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
                ))
                .await;
            client.head().await;
            let begun = Instant::now();
            let mut body = vec![0; 1 << 20];
            let (first, rest) = body.split_at_mut((1 << 20) - left);
            client.0.read_exact(first).await.unwrap();
            client.send(format!("x{GET}")).await;
            // The server reads this before it can continue to write.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }

            client.0.read_exact(rest).await.unwrap();
            assert_eq!(client.answer().await.body, "hello", "{path}, {left}");

            assert_eq!(begun.elapsed(), Duration::ZERO, "{path}, {left}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_limit_gets_503_until_another_one_ends() {
    let server = Running::start(app(), |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = 2;
        server.limits(limits)
    });
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!(first.ask(GET).await.body, "hello");
    assert_eq!(second.ask(GET).await.body, "hello");

    let mut third = server.connect();
    let refused = third.ask(GET).await;
    refused.assert_refusal(503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(third.closed().await, "");
    assert_eq!(first.ask(GET).await.body, "hello");

    drop(first);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(server.connect().ask(GET).await.body, "hello");
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_connection_that_is_idle_longest_is_evicted() {
    let server = Running::start(app(), |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = 5;
        server.limits(limits)
    });
    let mut silent = server.connect();
    sleep(seconds(1)).await;
    let mut answered = server.connect();
    assert_eq!(answered.ask(GET).await.body, "hello");
    sleep(seconds(1)).await;
    let mut unwanted = server.connect();
    let wrong = "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345";
    assert_eq!(unwanted.ask(wrong).await.status(), 405);
    sleep(seconds(1)).await;
    let mut over_http2 = http2(server.pipe()).await;
    assert_eq!(h2_get(&mut over_http2, "/").await, "hello");
    let mut upload = server.connect();
    upload
        .send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        .await;
    sleep(seconds(10)).await;

    let mut new = Vec::new();
    for idle in [&mut silent, &mut answered, &mut unwanted] {
        let mut client = server.connect();
        assert_eq!(client.ask(GET).await.body, "hello");
        assert_eq!(open_for(idle).await, 0);
        new.push(client);
    }
    assert!(!over_http2.is_closed());
    let mut last = server.connect();
    assert_eq!(last.ask(GET).await.body, "hello");
    assert!(over_http2.ready().await.is_err());

    // A request in progress is evicted after all idle connections, and one that was just answered is not idle yet.
    upload.send("2").await;
    assert_eq!(upload.answer().await.body, "12");
    server.connect().ask(GET).await.assert_refusal(503);
    for client in &mut new {
        assert_eq!(client.ask(GET).await.body, "hello");
    }
}

/// A byte of a head, a body that does not arrive, an answer that is not read: each costs the client almost nothing.
#[tokio::test(start_paused = true)]
async fn at_the_limit_connections_that_wait_for_their_clients_are_evicted() {
    let go = Arc::new(Notify::new());
    let owed = {
        let go = Arc::clone(&go);
        move || {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                full("done")
            }
        }
    };
    let server = Running::start(app().get("/owed", owed), |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = 5;
        server.limits(limits)
    });
    let mut worked_on = server.connect();
    worked_on.send("GET /owed HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut head = server.connect();
    head.send("G").await;
    let mut body = server.connect();
    body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n0123456789")
        .await;
    let mut answer = server.connect();
    answer.send("GET /huge HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut over_http2 = http2(server.pipe()).await;
    over_http2.ready().await.unwrap();
    let untaken = over_http2.send_request(h2_request("/huge")).await.unwrap();

    sleep(Duration::from_millis(4900)).await;
    server.connect().ask(GET).await.assert_refusal(503);
    sleep(seconds(1)).await;

    // The ones that hold the most memory first.
    let mut new = vec![server.connect()];
    assert_eq!(new[0].ask(GET).await.body, "hello");
    assert!(over_http2.ready().await.is_err());
    for waiting in [&mut answer, &mut body, &mut head] {
        let mut client = server.connect();
        assert_eq!(client.ask(GET).await.body, "hello");
        assert_eq!(open_for(waiting).await, 0);
        new.push(client);
    }
    server.connect().ask(GET).await.assert_refusal(503);
    go.notify_one();
    assert_eq!(worked_on.answer().await.body, "done");
    drop(untaken);
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_limited_in_time_and_number() {
    let server = Running::start(app(), |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = 1;
        server.limits(limits)
    });
    let mut only = server.connect();
    assert_eq!(only.ask(GET).await.body, "hello");
    let mut silent: Vec<Client> = (0..64).map(|_| server.connect()).collect();

    // Further ones are closed without an answer.
    assert_eq!(open_for(&mut server.connect()).await, 0);
    assert_eq!(open_for(&mut silent[0]).await, 5);
    assert_eq!(only.ask(GET).await.body, "hello");
    for client in &mut silent {
        client.closed().await;
    }
    server.connect().ask(GET).await.assert_refusal(503);
}

#[tokio::test(start_paused = true)]
async fn accepting_continues_after_failures() {
    let server = Running::of(app());
    let begun = Instant::now();
    for _ in 0..3 {
        server.fail_to_accept(io::Error::from_raw_os_error(24));
    }
    server.fail_to_accept(io::ErrorKind::ConnectionAborted.into());

    assert_eq!(server.connect().ask(GET).await.body, "hello");
    // After pauses of 5, 10 and 20 ms.
    assert_eq!(begun.elapsed().as_millis(), 35);
}

#[tokio::test(start_paused = true)]
async fn every_request_carries_the_clients_address() {
    let server = Running::of(App::default().on(Method::GET, "/", |request| async move {
        let address = request.extensions().get::<ClientAddress>();
        Response::new(full(
            address.map_or_else(String::new, |address| address.0.to_string()),
        ))
    }));

    assert_eq!(server.connect().ask(GET).await.body, PEER);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_handler_ends_only_its_connection() {
    async fn panics() -> Body {
        panic!("on purpose")
    }
    let server = Running::of(app().get("/panic", panics));
    let mut other = server.connect();
    assert_eq!(other.ask(GET).await.body, "hello");
    let mut client = server.connect();
    client.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;

    assert_eq!(client.closed().await, "");
    assert_eq!(other.ask(GET).await.body, "hello");
}

/// A handshake that never ends, or one that negotiates HTTP/2.
struct Peculiar {
    ends: bool,
}

impl Handshake<DuplexStream> for Peculiar {
    type Io = DuplexStream;

    async fn handshake(&self, mut io: DuplexStream, _: SocketAddr) -> io::Result<Established<DuplexStream>> {
        while io.read_u8().await? != b'!' || !self.ends {}
        Ok(Established::new(io).speaking(Protocol::Http2))
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_within_the_time_for_the_first_byte_and_may_negotiate() {
    let server = Running::start(app(), |server| server.handshake(Peculiar { ends: false }));
    let mut stuck = server.connect();
    stuck.send("hello!").await;
    assert_eq!(open_for(&mut stuck).await, 30);

    let server = Running::start(app(), |server| server.handshake(Peculiar { ends: true }));
    let mut connection = server.connect();
    connection.send("hello!").await;
    let mut client = http2(connection.0).await;
    assert_eq!(h2_get(&mut client, "/").await, "hello");
}

// Shutdown.

#[tokio::test(start_paused = true)]
async fn at_a_shutdown_idle_connections_are_closed_and_requests_finish() {
    let go = Arc::new(Notify::new());
    let slow = {
        let go = Arc::clone(&go);
        move || {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                full("done")
            }
        }
    };
    let mut server = Running::of(app().get("/slow", slow));
    let mut silent = server.connect();
    let mut idle = server.connect();
    assert_eq!(idle.ask(GET).await.body, "hello");
    let mut busy = server.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut h2 = http2(server.pipe()).await;
    assert_eq!(h2_get(&mut h2, "/").await, "hello");
    let begun = Instant::now();

    server.stop();
    assert_eq!(silent.closed().await, "");
    assert_eq!(idle.closed().await, "");
    sleep(seconds(1)).await;
    assert!(h2.is_closed());
    go.notify_one();

    let answer = busy.answer().await;
    assert_eq!(answer.body, "done");
    assert_eq!(answer.header("connection"), Some("close"));
    let ended = server.ended().await;
    assert_eq!((ended.finished, ended.cut), (4, 0));
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_are_cut_off_at_the_deadline() {
    let mut server = Running::of(app().get("/never", std::future::pending::<Body>));
    let mut busy = server.connect();
    busy.send("GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut head = server.connect();
    head.send("GET / HT").await;
    let mut body = server.connect();
    body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        .await;
    let mut h2 = http2(server.pipe()).await;
    h2.ready().await.unwrap();
    let never = h2.send_request(h2_request("/never"));
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();

    server.stop();
    let ended = server.ended().await;

    assert_eq!((ended.finished, ended.cut), (0, 4));
    assert_eq!(begun.elapsed().as_secs(), 8);
    assert!(never.await.is_err());
    assert_eq!(busy.closed().await, "");
}
