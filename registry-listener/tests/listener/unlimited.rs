//! Timeouts of any length.

use super::*;

fn unlimited() -> Timeouts {
    let mut timeouts = Timeouts::default();
    for timeout in [
        &mut timeouts.first_byte,
        &mut timeouts.header,
        &mut timeouts.body_idle,
        &mut timeouts.first_write_timeout,
        &mut timeouts.queue,
        &mut timeouts.keep_alive,
        &mut timeouts.ping_interval,
        &mut timeouts.ping,
        &mut timeouts.discard,
        &mut timeouts.drain,
    ] {
        *timeout = Duration::MAX;
    }
    timeouts
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_is_no_limit() {
    let mut server = Running::start(refusing(), |server| server.timeouts(unlimited()));
    let mut client = server.connect();
    let mut over_http2 = http2(server.pipe()).await;
    for _ in 0..2 {
        assert_eq!(client.ask(GET).await.body, "hello");
        let echo = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(client.ask(echo).await.body, "hi");
        // The rest of the body is discarded.
        let early = "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(client.ask(early).await.body, "no");
        client.send("hi").await;
        assert_eq!(h2_get(&mut over_http2, "/large").await.len(), 1 << 20);
        sleep(seconds(24 * 60 * 60)).await;
    }

    server.stop();

    let ended = server.ended().await;
    assert_eq!((ended.finished, ended.cut), (2, 0));
}
