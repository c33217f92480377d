//! Refusals by the listener, as reported to a log and to layers.

use super::*;
use crate::support::app::Around;
use http::Request;
use registry_listener::RequestBody;
use tower_service::Service as _;

type Reported = Arc<Mutex<Vec<(String, u16, u64)>>>;

fn reporting(reported: &Reported, connections: usize) -> impl FnOnce(Server) -> Server {
    let reported = Arc::clone(reported);
    move |server| {
        let mut limits = ConnectionLimits::default();
        limits.connections = connections;
        server.limits(limits).on_refusal(move |refused| {
            assert_eq!(refused.peer.to_string(), PEER);
            let agent = refused.headers.get("user-agent");
            let agent = agent.map_or("", |agent| agent.to_str().unwrap());
            let line = format!("{}|{agent}", refused.line);
            reported
                .lock()
                .unwrap()
                .push((line, refused.status.as_u16(), refused.sent));
        })
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_listener_are_reported() {
    let reported = Reported::default();
    let server = Running::start(app(), reporting(&reported, 100));
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
        let reported = std::mem::take(&mut *reported.lock().unwrap());
        assert_eq!(reported, [(line.to_owned(), status, answer.body.len() as u64)]);
    }
    let mut again = server.connect();
    assert_eq!(again.ask(GET).await.body, "hello");
    assert!(reported.lock().unwrap().is_empty());
    again
        .ask("PUT /second HTTP/1.1\r\nX : y\r\n\r\n")
        .await
        .assert_refusal(400);
    assert_eq!(reported.lock().unwrap().remove(0).0, "PUT /second HTTP/1.1|");
    let mut head = server.connect();
    head.send("HEAD / HTTP/1.1\r\n\r\n").await;
    assert_eq!(head.head().await.status(), 400);
    let (line, _, sent) = reported.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), sent), ("HEAD / HTTP/1.1|", 0));

    let server = Running::start(app(), reporting(&reported, 1));
    let mut only = server.connect();
    assert_eq!(only.ask(GET).await.body, "hello");
    server.connect().ask(GET).await.assert_refusal(503);
    let (line, status, _) = reported.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), status), ("GET / HTTP/1.1|", 503));
}

#[tokio::test(start_paused = true)]
async fn refusals_over_http2_are_reported() {
    let reported = Reported::default();
    let never = app().get("/never", std::future::pending::<Body>);
    let server = Running::start(never, |server| {
        let mut limits = ConnectionLimits::default();
        limits.all_streams = 1;
        reporting(&reported, 100)(server).limits(limits)
    });
    let (client, connection) = h2::client::handshake(server.pipe()).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let contradicts = Request::get("http://x/a?b").header("host", "y").body(());
    let (answer, _) = client.send_request(contradicts.unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 400);
    let (line, status, sent) = reported.lock().unwrap().remove(0);
    assert_eq!((line.as_str(), status), ("GET /a?b HTTP/2.0|", 400));
    assert!(sent > 0);

    // One request is open, and another waits.
    let request = |path: &str| Request::get(format!("http://x{path}")).body(()).unwrap();
    let (runs, _) = client.send_request(request("/never"), true).unwrap();
    sleep(seconds(1)).await;
    let (refused, _) = client.send_request(request("/"), true).unwrap();
    assert_eq!(
        refused.await.unwrap_err().reason(),
        Some(h2::Reason::REFUSED_STREAM)
    );
    assert_eq!(
        *reported.lock().unwrap(),
        [("GET / HTTP/2.0|".to_owned(), 503, 0)]
    );
    drop(runs);
}

/// The service has seen that request, and has produced another answer.
#[tokio::test(start_paused = true)]
async fn a_layer_learns_that_a_body_stopped_arriving() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let note = move |mut app: App, request: Request<RequestBody>| {
        let noted = Arc::clone(&noted);
        async move {
            let overruled: Overruled = request.extensions().get().cloned().unwrap();
            let Ok(mut response) = app.call(request).await;
            let last = Noting(overruled, response.status().as_u16(), noted);
            response.extensions_mut().insert(Arc::new(last));
            response
        }
    };
    let server = Running::of(Around(app(), note));
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

/// The service's status, and the status and length of the listener's answer in its place.
type Noted = (u16, Option<u16>, Option<u64>);

/// Records the known facts when the answer has been sent, or dropped.
struct Noting(Overruled, u16, Arc<Mutex<Vec<Noted>>>);

impl Drop for Noting {
    fn drop(&mut self) {
        let status = self.0.status().map(|status| status.as_u16());
        self.2.lock().unwrap().push((self.1, status, self.0.sent()));
    }
}
