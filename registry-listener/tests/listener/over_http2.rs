//! HTTP/2.

use super::*;

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
async fn a_silent_http2_peer_gets_a_ping() {
    let server = Running::of(app());
    let mut client = server.connect();
    client.send(PREFACE).await;

    assert_eq!(open_for(&mut client).await, 80);
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_answers_pings_has_the_time_between_requests() {
    let server = Running::of(app());
    let mut client = http2(server.pipe()).await;
    assert_eq!(h2_get(&mut client, "/").await, "hello");

    sleep(seconds(299)).await;
    assert_eq!(h2_get(&mut client, "/").await, "hello");
    sleep(seconds(301)).await;
    assert!(client.is_closed());
}

/// RFC 9113, 8.1: first the whole answer, then a reset, because the rest of the request is not wanted.
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
async fn an_http2_request_that_crosses_the_goaway_is_finished() {
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
async fn an_http2_answer_without_a_window_is_abandoned() {
    let server = Running::of(app());
    let mut client = http2(server.pipe()).await;
    client.ready().await.unwrap();
    // The client does not read: it uses its first window, answers pings, and grants no more.
    let held = client.send_request(h2_request("/huge")).await.unwrap();

    sleep(seconds(2 * 900 + 10)).await;

    assert!(client.is_closed());
    assert!(held.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_beyond_the_limit_gets_503() {
    let server = Running::start(app(), |server| {
        let mut limits = ConnectionLimits::default();
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
