//! The listener, over pipes in memory and in paused time: its timeouts and limits, and their effects.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::Response,
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use registry_axum::server::{Established, Handshake, Limits, Protocol, Server, Timeouts};
use registry_core::{auth::ClientAddress, service::Overruled};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{Client, PEER, Running};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    sync::Notify,
    time::{Instant, sleep},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/large", get(|| async { Body::from(vec![b'x'; 1 << 20]) }))
        .route("/frames", get(frames))
        .route("/huge", get(|| async { Body::from(vec![b'x'; 32 << 20]) }))
}

/// Returns as many bytes as `/large`, in pieces.
async fn frames() -> Response {
    let piece = Bytes::from(vec![b'x'; 8 << 10]);
    let pieces = futures_util::stream::iter((0..128).map(move |_| Ok::<_, io::Error>(piece.clone())));
    let mut response = Response::new(Body::from_stream(pieces));
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

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Running::of(app());
    let mut silent = server.connect();
    let mut half_a_preface = server.connect();
    half_a_preface.send("PRI * HT").await;

    assert_eq!(open_for(&mut silent).await, 30);
    half_a_preface.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_however_it_drips() {
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
async fn between_requests_and_within_a_head_are_two_times() {
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
async fn a_body_may_take_for_ever_but_not_stand_still() {
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
    // It may still be sending, so it has a moment to read the answer.
    assert_eq!(open_for(&mut client).await, 0);
}

/// One answer is passed on in a single piece, and the other is produced in pieces.
#[tokio::test(start_paused = true)]
async fn an_answer_may_take_for_ever_but_not_stand_still() {
    let server = Running::of(app());
    for path in ["/large", "/frames"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut slow = server.connect();
        slow.send(&request).await;
        slow.head().await;
        let mut some = vec![0; 64 << 10];
        // The first of it in time; see below.
        for pause in [59].into_iter().chain([899; 14]) {
            sleep(seconds(pause)).await;
            slow.0.read_exact(&mut some).await.unwrap();
        }
        // The last of it fits into the pipe: only now does the time between requests begin.
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

/// Returns true if the server has closed a connection from which nothing was read: it takes no more bytes.
async fn server_has_ended(client: &mut Client) -> bool {
    !client.try_send(b"G").await
}

/// The request costs a few bytes, and the client may never take any of the answer.
#[tokio::test(start_paused = true)]
async fn an_answer_of_which_nothing_is_taken_is_given_up_soon() {
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
            // The server has read that before it can write on.
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
async fn one_too_many_is_told_so_and_there_is_room_again_later() {
    let server = Running::start(app(), |server| {
        let mut limits = Limits::default();
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
async fn where_there_is_no_room_the_longest_idle_makes_some() {
    let server = Running::start(app(), |server| {
        let mut limits = Limits::default();
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

    // Who is in the middle of something comes after all who are idle, and who has just been answered is not cut.
    upload.send("2").await;
    assert_eq!(upload.answer().await.body, "12");
    server.connect().ask(GET).await.assert_refusal(503);
    for client in &mut new {
        assert_eq!(client.ask(GET).await.body, "hello");
    }
}

/// One byte of a head, a body that does not arrive, an answer that is not taken: each costs next to nothing.
#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_those_who_wait_for_their_clients_give_way() {
    let go = Arc::new(Notify::new());
    let owed = {
        let go = Arc::clone(&go);
        move || async move {
            go.notified().await;
            "done"
        }
    };
    let server = Running::start(app().route("/owed", get(owed)), |server| {
        let mut limits = Limits::default();
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

    // Those that hold most first.
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
async fn refusing_is_bounded_in_time_and_in_number() {
    let server = Running::start(app(), |server| {
        let mut limits = Limits::default();
        limits.connections = 1;
        server.limits(limits)
    });
    let mut only = server.connect();
    assert_eq!(only.ask(GET).await.body, "hello");
    let mut silent: Vec<Client> = (0..64).map(|_| server.connect()).collect();

    // Beyond those that are being refused nobody is even told.
    assert_eq!(open_for(&mut server.connect()).await, 0);
    assert_eq!(open_for(&mut silent[0]).await, 5);
    assert_eq!(only.ask(GET).await.body, "hello");
    for client in &mut silent {
        client.closed().await;
    }
    server.connect().ask(GET).await.assert_refusal(503);
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_accept_is_got_over() {
    let server = Running::of(app());
    let begun = Instant::now();
    for _ in 0..3 {
        server.fail_to_accept(io::Error::from_raw_os_error(24));
    }
    server.fail_to_accept(io::ErrorKind::ConnectionAborted.into());

    assert_eq!(server.connect().ask(GET).await.body, "hello");
    // Neither dead nor spinning: 5, 10 and 20 ms.
    assert_eq!(begun.elapsed().as_millis(), 35);
}

#[tokio::test(start_paused = true)]
async fn every_request_carries_the_clients_address() {
    let server = Running::of(Router::new().route(
        "/",
        get(|request: Request| async move {
            let address = request.extensions().get::<ClientAddress>();
            address.map_or_else(String::new, |address| address.0.to_string())
        }),
    ));

    assert_eq!(server.connect().ask(GET).await.body, PEER);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_its_connection_and_no_other() {
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let server = Running::of(app().route("/panic", get(panics)));
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
async fn a_handshake_shares_the_time_of_the_first_byte_and_may_negotiate() {
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

// What a log learns.

type Told = Arc<Mutex<Vec<(String, u16, u64)>>>;

fn telling(told: &Told, connections: usize) -> impl FnOnce(Server) -> Server {
    let told = Arc::clone(told);
    move |server| {
        let mut limits = Limits::default();
        limits.connections = connections;
        server.limits(limits).on_refusal(move |refused| {
            assert_eq!(refused.peer.to_string(), PEER);
            let agent = refused.headers.get("user-agent");
            let agent = agent.map_or("", |agent| agent.to_str().unwrap());
            let line = format!("{}|{agent}", refused.line);
            told.lock()
                .unwrap()
                .push((line, refused.status.as_u16(), refused.sent));
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_listener_refuses_by_itself_is_told() {
    let told = Told::default();
    let server = Running::start(app(), telling(&told, 100));
    for (request, line, status) in [
        (
            "GET /a?b HTTP/1.1\r\nUser-Agent: c\r\n\r\n",
            "GET /a?b HTTP/1.1|c",
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1|",
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "PUT / HTTP/1.1|",
            501,
        ),
        ("\r\n\u{16}\u{3}\u{1}\n\n", "\u{16}\u{3}\u{1}|", 400),
        ("GET /v2/ HTTP/1.1\r\nX : y\r\n\r\n", "GET /v2/ HTTP/1.1|", 400),
        (
            &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)),
            &format!("GET /{}|", "x".repeat(507)),
            431,
        ),
    ] {
        let answer = server.connect().ask(request).await;

        answer.assert_refusal(status);
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told, [(line.to_owned(), status, answer.body.len() as u64)]);
    }
    let mut again = server.connect();
    assert_eq!(again.ask(GET).await.body, "hello");
    assert!(told.lock().unwrap().is_empty());
    again
        .ask("PUT /second HTTP/1.1\r\nX : y\r\n\r\n")
        .await
        .assert_refusal(400);
    assert_eq!(told.lock().unwrap().remove(0).0, "PUT /second HTTP/1.1|");
    let mut head = server.connect();
    head.send("HEAD / HTTP/1.1\r\n\r\n").await;
    assert_eq!(head.head().await.status(), 400);
    let (line, _, sent) = told.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), sent), ("HEAD / HTTP/1.1|", 0));

    let server = Running::start(app(), telling(&told, 1));
    let mut only = server.connect();
    assert_eq!(only.ask(GET).await.body, "hello");
    server.connect().ask(GET).await.assert_refusal(503);
    let (line, status, _) = told.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), status), ("GET / HTTP/1.1|", 503));
}

#[tokio::test(start_paused = true)]
async fn what_the_listener_refuses_over_http2_is_told() {
    let told = Told::default();
    let never = app().route("/never", get(std::future::pending::<&str>));
    let server = Running::start(never, |server| {
        let mut limits = Limits::default();
        limits.all_streams = 1;
        telling(&told, 100)(server).limits(limits)
    });
    let (client, connection) = h2::client::handshake(server.pipe()).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let contradicts = http::Request::get("http://x/a?b").header("host", "y").body(());
    let (answer, _) = client.send_request(contradicts.unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 400);
    let (line, status, sent) = told.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), status), ("GET /a?b HTTP/2.0|", 400));
    assert!(sent > 0);

    // One runs, and one more waits as long as it may.
    let request = |path: &str| http::Request::get(format!("http://x{path}")).body(()).unwrap();
    let (runs, _) = client.send_request(request("/never"), true).unwrap();
    sleep(seconds(1)).await;
    let (refused, _) = client.send_request(request("/"), true).unwrap();
    assert_eq!(
        refused.await.unwrap_err().reason(),
        Some(h2::Reason::REFUSED_STREAM)
    );
    assert_eq!(*told.lock().unwrap(), [("GET / HTTP/2.0|".to_owned(), 503, 0)]);
    drop(runs);
}

/// The router has seen that request, and has produced another answer.
#[tokio::test(start_paused = true)]
async fn a_layer_learns_that_a_body_stopped_coming() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let note = move |request: Request, next: Next| {
        let noted = Arc::clone(&noted);
        async move {
            let overruled: Overruled = request.extensions().get().cloned().unwrap();
            let mut response = next.run(request).await;
            let last = Noting(overruled, response.status().as_u16(), noted);
            response.extensions_mut().insert(Arc::new(last));
            response
        }
    };
    let server = Running::of(app().layer(from_fn(note)));
    assert_eq!(server.connect().ask(GET).await.body, "hello");
    let answer = server
        .connect()
        .ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        .await;

    answer.assert_refusal(408);
    let length = answer.body.len() as u64;
    assert_eq!(
        *seen.lock().unwrap(),
        [(200, None, None), (400, Some(408), Some(length))]
    );
}

/// The router's status, and the status and length of the listener's answer in its place.
type Noted = (u16, Option<u16>, Option<u64>);

/// Records the known facts when the answer has been sent, or dropped.
struct Noting(Overruled, u16, Arc<Mutex<Vec<Noted>>>);

impl Drop for Noting {
    fn drop(&mut self) {
        let status = self.0.status().map(|status| status.as_u16());
        self.2.lock().unwrap().push((self.1, status, self.0.sent()));
    }
}

// Early answers.

/// Refuses every upload without reading it.
fn refusing() -> Router {
    app().route("/refused", post(|| async { (StatusCode::UNAUTHORIZED, "no") }))
}

const REFUSED: &str = "POST /refused HTTP/1.1\r\nHost: x\r\n";

/// A body in chunks of a mebibyte, as it goes over the wire.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in body.chunks(1 << 20) {
        chunks.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend(piece);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    chunks
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_reaches_those_who_read_only_after_they_have_sent() {
    let server = Running::of(refusing());
    let body = vec![b'x'; 30 << 20];
    let sized = format!("{REFUSED}Content-Length: {}\r\n\r\n", body.len());
    let in_chunks = format!("{REFUSED}Transfer-Encoding: chunked\r\n\r\n");
    for (head, body) in [(sized, body.clone()), (in_chunks, chunked(&body))] {
        let mut client = server.connect();
        client.send(head).await;
        client.send(body).await;

        let answer = client.answer().await;

        assert_eq!((answer.status(), answer.body.as_str()), (401, "no"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.closed().await, "");
    }
}

/// The length of the rest is unknown, or it is long, or it may never arrive.
#[tokio::test(start_paused = true)]
async fn an_early_answer_ends_the_connection_unless_the_rest_is_short() {
    let server = Running::of(refusing());
    for (headers, sent) in [
        ("Content-Length: 262145\r\n", ""),
        ("Content-Length: 262155\r\n", "0123456789"),
        ("Transfer-Encoding: chunked\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "2\r\n01\r\n"),
        ("Content-Length: 2\r\nExpect: 100-continue\r\n", ""),
    ] {
        let mut client = server.connect();
        let answer = client.ask(&format!("{REFUSED}{headers}\r\n{sent}")).await;

        assert_eq!(
            (answer.status(), answer.header("connection")),
            (401, Some("close")),
            "{headers}"
        );
        // Nothing follows the answer, and it is known at once that nothing does.
        assert_eq!(open_for(&mut client).await, 0, "{headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_rest_is_received_and_the_connection_kept() {
    let server = Running::of(refusing());
    let mut client = server.connect();
    let body = vec![b'x'; 256 << 10];

    let answer = client
        .ask(&format!("{REFUSED}Content-Length: {}\r\n\r\n", body.len()))
        .await;

    assert_eq!((answer.status(), answer.header("connection")), (401, None));
    client.send(&body).await;
    assert_eq!(client.ask(GET).await.body, "hello");
}

/// The next request may arrive before the end of the last one's body was noticed.
#[tokio::test(start_paused = true)]
async fn what_follows_a_useless_body_is_the_next_request() {
    let server = Running::of(refusing());
    let mut client = server.connect();
    let body = "x".repeat(200 << 10);
    let sized = format!("{REFUSED}Content-Length: {}\r\n\r\n{body}", body.len());
    for _ in 0..3 {
        client.send(format!("{sized}{sized}{GET}")).await;
        assert_eq!(client.answer().await.status(), 401);
        assert_eq!(client.answer().await.status(), 401);
        assert_eq!(client.answer().await.body, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_does_not_wait_for_the_body() {
    let server = Running::of(refusing());
    let mut client = server.connect();

    let answer = client
        .ask(&format!("{REFUSED}Content-Length: 100\r\n\r\nx"))
        .await;

    assert_eq!(answer.status(), 401);
    // And the body is not waited for much longer.
    assert_eq!(open_for(&mut client).await, 5);
}

/// Returns the bytes and seconds for which a body is received after its answer, from a client that pauses after each
/// piece.
async fn received(server: &Running, pause: Duration) -> (usize, u64) {
    let mut client = server.connect();
    client
        .send(format!("{REFUSED}Content-Length: 1073741824\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.status(), 401);
    let begun = Instant::now();
    let piece = vec![b'x'; 256 << 10];
    let mut sent = 0;
    while client.try_send(&piece).await {
        sent += piece.len();
        sleep(pause).await;
    }
    (sent, begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn what_an_early_answer_makes_useless_is_received_within_bounds() {
    let server = Running::start(refusing(), |server| {
        let mut limits = Limits::default();
        limits.discarded_body = 1 << 20;
        server.limits(limits)
    });
    let (sent, _) = received(&server, Duration::ZERO).await;
    assert!((1 << 20..2 << 20).contains(&sent), "{sent}");

    let server = Running::of(refusing());
    let (sent, _) = received(&server, Duration::ZERO).await;
    assert!((64 << 20..65 << 20).contains(&sent), "{sent}");
    let (_, seconds) = received(&server, Duration::from_millis(500)).await;
    assert_eq!(seconds, 5);
}

/// A client that sends a short rest slowly gets no more time, since the answer was sent long ago.
#[tokio::test(start_paused = true)]
async fn a_short_rest_that_does_not_come_has_the_same_time() {
    let server = Running::of(refusing());
    let mut client = server.connect();
    let answer = client.ask(&format!("{REFUSED}Content-Length: 100\r\n\r\n")).await;
    assert_eq!(answer.status(), 401);
    let begun = Instant::now();

    while client.try_send(b"x").await {
        sleep(Duration::from_millis(500)).await;
    }

    assert_eq!(begun.elapsed().as_secs(), 5);
}

// HTTP/2.

type Http2 = hyper::client::conn::http2::SendRequest<Body>;

async fn http2(pipe: DuplexStream) -> Http2 {
    let io = hyper_util::rt::TokioIo::new(pipe);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    client
}

fn h2_request(path: &str) -> http::Request<Body> {
    let uri = format!("http://x{path}");
    http::Request::get(uri).body(Body::empty()).unwrap()
}

async fn h2_get(client: &mut Http2, path: &str) -> String {
    client.ready().await.unwrap();
    let answer = client.send_request(h2_request(path)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The first bytes of an HTTP/2 client before its first request.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(start_paused = true)]
async fn http2_with_prior_knowledge() {
    let server = Running::of(app());
    let mut client = http2(server.pipe()).await;

    assert_eq!(h2_get(&mut client, "/").await, "hello");
    assert_eq!(h2_get(&mut client, "/large").await.len(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_silent_http2_peer_is_asked_for_a_sign_of_life() {
    let server = Running::of(app());
    let mut client = server.connect();
    client.send(PREFACE).await;

    assert_eq!(open_for(&mut client).await, 80);
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_lives_may_idle_as_long_as_any_other() {
    let server = Running::of(app());
    let mut client = http2(server.pipe()).await;
    assert_eq!(h2_get(&mut client, "/").await, "hello");

    sleep(seconds(299)).await;
    assert_eq!(h2_get(&mut client, "/").await, "hello");
    sleep(seconds(301)).await;
    assert!(client.is_closed());
}

/// RFC 9113, 8.1: first the whole answer, then the reset that says that the rest of the request is not wanted.
#[tokio::test(start_paused = true)]
async fn an_early_answer_over_http2_is_whole_before_the_request_is_reset() {
    let server = Running::of(refusing());
    let (mut client, connection) = h2::client::handshake(server.pipe()).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://x/refused").body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from(vec![b'x'; 16 << 10]), false).unwrap();

    let answer = answer.await.unwrap();

    assert_eq!(answer.status(), 401);
    let mut received = answer.into_body();
    assert_eq!(received.data().await.unwrap().unwrap(), "no");
    let reason = std::future::poll_fn(|context| body.poll_reset(context)).await;
    assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
}

/// The client's first frames and the GOAWAY have crossed.
#[tokio::test(start_paused = true)]
async fn an_http2_request_that_meets_the_goodbye_is_finished() {
    let server = Running::start(app(), |server| {
        let mut timeouts = Timeouts::default();
        timeouts.keep_alive = seconds(10);
        server.timeouts(timeouts)
    });
    let mut client = server.connect();
    client.send(PREFACE).await;
    sleep(seconds(11)).await;

    // `POST http://x/echo`, and its body in two pieces. RFC 9113, 6.1 and 6.2; RFC 7541, appendix A.
    client
        .send(b"\0\0\x0c\x01\x04\0\0\0\x01\x83\x86\x04\x05/echo\x01\x01x")
        .await;
    client.send(b"\0\0\x05\0\0\0\0\0\x01hello").await;
    sleep(seconds(30)).await;
    client.send(b"\0\0\x06\0\x01\0\0\0\x01 again").await;

    let begun = Instant::now();
    let said = client.closed().await;
    assert!(said.contains("hello again"), "{said:?}");
    assert!(begun.elapsed() <= seconds(15));
}

#[tokio::test(start_paused = true)]
async fn an_http2_answer_that_gets_no_window_is_given_up() {
    let server = Running::of(app());
    let mut client = http2(server.pipe()).await;
    client.ready().await.unwrap();
    // Held and not read: it has its first window, answers pings, and grants no more.
    let held = client.send_request(h2_request("/huge")).await.unwrap();

    sleep(seconds(2 * 900 + 10)).await;

    assert!(client.is_closed());
    assert!(held.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_too_many_over_http2_is_told_so_as_well() {
    let server = Running::start(app(), |server| {
        let mut limits = Limits::default();
        limits.connections = 1;
        server.limits(limits)
    });
    let mut only = server.connect();
    assert_eq!(only.ask(GET).await.body, "hello");

    let mut client = http2(server.pipe()).await;
    client.ready().await.unwrap();
    let answer = client.send_request(h2_request("/")).await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    sleep(seconds(1)).await;
    assert!(client.is_closed());
}

// The end.

#[tokio::test(start_paused = true)]
async fn at_the_end_the_idle_are_closed_at_once_and_the_busy_finish() {
    let go = Arc::new(Notify::new());
    let slow = {
        let go = Arc::clone(&go);
        move || {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                "done"
            }
        }
    };
    let mut server = Running::of(app().route("/slow", get(slow)));
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
async fn what_is_not_done_by_the_deadline_is_cut_off() {
    let mut server = Running::of(app().route("/never", get(std::future::pending::<&str>)));
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
