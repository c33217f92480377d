//! Answers that are sent before the whole request was received.

use super::*;

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
async fn an_early_answer_reaches_a_client_that_reads_after_it_has_sent() {
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

/// The rest has an unknown length, is long, or may never arrive.
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
        // The connection is closed at once after the answer.
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

/// The next request may arrive before the end of the body was detected.
#[tokio::test(start_paused = true)]
async fn the_bytes_after_an_unwanted_body_are_the_next_request() {
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
    // The connection waits for the body for 5 s.
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
async fn an_unwanted_body_is_received_within_bounds() {
    let server = Running::start(refusing(), |server| {
        let mut limits = ConnectionLimits::default();
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

/// A client that sends a short rest slowly gets no more time.
#[tokio::test(start_paused = true)]
async fn a_short_rest_that_arrives_slowly_has_the_same_time() {
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
