//! Many requests over HTTP/2: their limit, and the eviction of idle connections, in paused time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use registry_listener::{ConnectionLimits, Timeouts};
use std::{
    error::Error,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{
    Running,
    app::{App, Body, full, pieces},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

const PIECE: usize = 16 << 10;

/// Returns an app whose `/pieces` is an answer of four pieces, and counts the pieces that were polled.
fn app(made: &Arc<AtomicUsize>) -> App {
    let made = Arc::clone(made);
    let counted = move || {
        let made = Arc::clone(&made);
        async move {
            pieces((0..4).map(move |_| {
                made.fetch_add(1, Ordering::Relaxed);
                Bytes::from(vec![b'x'; PIECE])
            }))
        }
    };
    App::default()
        .get("/", || async { full("hello") })
        .post("/echo", |body| async { full(body) })
        .get("/pieces", counted)
}

fn serve(app: App, all_streams: usize) -> Running {
    Running::start(app, |server| {
        let mut limits = ConnectionLimits::default();
        limits.all_streams = all_streams;
        server.limits(limits)
    })
}

type Client = SendRequest<Body>;

/// Returns a client that grants each answer this number of bytes until it reads.
async fn client(server: &Running, window: u32) -> Client {
    let io = hyper_util::rt::TokioIo::new(server.pipe());
    let (mut client, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(io)
            .await
            .unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap();
    client
}

type Answer = hyper::Result<http::Response<Incoming>>;

fn get_of(client: &mut Client, path: &str) -> impl Future<Output = Answer> + use<> {
    let request = Request::get(format!("http://x{path}")).body(full(Bytes::new()));
    client.send_request(request.unwrap())
}

/// Sends a request whose body never arrives.
fn silent_upload(client: &mut Client) -> impl Future<Output = Answer> + use<> {
    let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, _>>()).boxed_unsync();
    client.send_request(Request::post("http://x/echo").body(body).unwrap())
}

async fn text(answer: Answer) -> String {
    let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn refused(error: &hyper::Error) -> bool {
    let inner = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    inner.and_then(h2::Error::reason) == Some(h2::Reason::REFUSED_STREAM)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_holds_one_piece_and_has_less_time() {
    let made = Arc::default();
    let server = Running::of(app(&made));
    let mut miser = client(&server, 1).await;
    let answer = get_of(&mut miser, "/pieces").await.unwrap();

    sleep(seconds(59)).await;
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert!(!miser.is_closed());
    sleep(seconds(2)).await;
    assert!(miser.is_closed());
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_read_a_part_may_pause() {
    let made = Arc::default();
    let server = Running::of(app(&made));
    // Room for a piece and a half.
    let mut slow = client(&server, u32::try_from(PIECE + PIECE / 2).unwrap()).await;
    let answer = get_of(&mut slow, "/pieces").await.unwrap();

    sleep(seconds(899)).await;

    assert_eq!(made.load(Ordering::Relaxed), 2);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 4 * PIECE);
}

/// hyper has passed the answer on, and does not hold it any more.
#[tokio::test(start_paused = true)]
async fn an_answer_of_one_piece_is_open_until_it_has_been_written() {
    let server = serve(app(&Arc::default()), 1);
    let mut miser = client(&server, 1).await;
    let held = get_of(&mut miser, "/").await.unwrap();
    let mut other = client(&server, 1 << 20).await;

    let waits = tokio::spawn(get_of(&mut other, "/"));
    sleep(seconds(4)).await;
    assert!(!waits.is_finished());

    assert_eq!(text(Ok(held)).await, "hello");
    assert_eq!(text(waits.await.unwrap()).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_the_limit_waits_and_is_then_refused() {
    let go = Arc::new(Notify::new());
    let slow = {
        let go = Arc::clone(&go);
        move || {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                full("")
            }
        }
    };
    let server = serve(app(&Arc::default()).get("/slow", slow), 2);
    let mut busy = client(&server, 1 << 20).await;
    let first = tokio::spawn(get_of(&mut busy, "/slow"));
    let second = tokio::spawn(get_of(&mut busy, "/slow"));
    sleep(seconds(1)).await;
    let mut other = client(&server, 1 << 20).await;

    // A request without a body, one with a body, and one beyond the requests that may wait.
    let begun = Instant::now();
    let plain = tokio::spawn(get_of(&mut other, "/"));
    let upload = tokio::spawn(silent_upload(&mut other));
    sleep(seconds(1)).await;
    assert!(refused(&get_of(&mut other, "/").await.unwrap_err()));
    assert_eq!(begun.elapsed(), seconds(1));

    assert!(refused(&plain.await.unwrap().unwrap_err()));
    let upload = upload.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), seconds(10));
    assert_eq!(upload.status(), 503);
    assert_eq!(upload.headers()["retry-after"], "5");
    assert!(
        !other.is_closed() && !busy.is_closed(),
        "a connection with work in progress is not evicted"
    );

    // A waiting request continues as soon as another one is done.
    let waits = tokio::spawn(get_of(&mut other, "/"));
    sleep(seconds(9)).await;
    assert!(!waits.is_finished());
    go.notify_waiters();
    assert_eq!(text(waits.await.unwrap()).await, "hello");
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_evicted_those_with_the_most_requests_first() {
    let server = serve(app(&Arc::default()), 10);
    let mut greedy = client(&server, 1).await;
    let mut half = client(&server, 1).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(get_of(&mut greedy, "/pieces").await.unwrap());
    }
    for _ in 0..3 {
        held.push(get_of(&mut half, "/pieces").await.unwrap());
    }
    // An upload of which nothing arrives is idle, too.
    let mut silent = client(&server, 1).await;
    let upload = tokio::spawn(silent_upload(&mut silent));
    sleep(seconds(2)).await;
    let mut other = client(&server, 1 << 20).await;

    let begun = Instant::now();
    assert_eq!(text(get_of(&mut other, "/").await).await, "hello");

    assert!(
        (3..=4).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert!(greedy.is_closed());
    assert!(!half.is_closed() && !silent.is_closed(), "one is enough");

    // As many as are needed.
    let mut next = client(&server, 1).await;
    let answers: Vec<_> = (0..8).map(|_| get_of(&mut next, "/pieces")).collect();
    for answer in answers {
        held.push(answer.await.unwrap());
    }
    assert!(half.is_closed());
    assert!(!silent.is_closed() && !next.is_closed());
    upload.abort();
}

#[tokio::test(start_paused = true)]
async fn many_requests_of_one_client_are_served_concurrently() {
    let server = Running::of(app(&Arc::default()));
    let mut parallel = client(&server, 64 << 10).await;

    let answers: Vec<_> = (0..64).map(|_| get_of(&mut parallel, "/pieces")).collect();
    for answer in answers {
        assert_eq!(text(answer.await).await.len(), 4 * PIECE);
    }
}

#[tokio::test(start_paused = true)]
async fn times_and_limits_can_be_set() {
    let server = Running::start(app(&Arc::default()), |server| {
        let mut timeouts = Timeouts::default();
        timeouts.first_write_timeout = seconds(3);
        timeouts.queue = seconds(2);
        let mut limits = ConnectionLimits::default();
        limits.all_streams = 1;
        server.timeouts(timeouts).limits(limits)
    });
    let mut miser = client(&server, 1).await;
    let _held = get_of(&mut miser, "/pieces").await.unwrap();
    let begun = Instant::now();
    let mut other = client(&server, 1 << 20).await;

    assert!(refused(&get_of(&mut other, "/").await.unwrap_err()));
    assert_eq!(begun.elapsed(), seconds(2));
    let answer = timeout(seconds(2), get_of(&mut other, "/")).await.unwrap();
    assert_eq!(text(answer).await, "hello");
    assert!(miser.is_closed());
}
