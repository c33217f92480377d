//! A registry behind the listener, and clients that are old, unusual or hostile, over pipes in memory.
//!
//! Requests that HTTP allows are served. Requests that it forbids are refused in the error format of the registry, and
//! the connection is closed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use http::{Method, Request, Response, Version};
use registry_core::{Algorithm, Digest, Registry, Repository, storage::MemoryStorage};
use support::{
    Answer, Client, Running,
    app::{App, full},
};
use tokio::io::AsyncWriteExt as _;

const CONTENT: &str = "0123456789";

struct World {
    server: Running,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let registry = Registry::builder(MemoryStorage::new())
            .allow_anonymous_push()
            .build();
        let service = registry.clone().into_service(|task| {
            tokio::spawn(task);
        });
        Self {
            server: Running::of(service),
            registry,
        }
    }

    fn repository(&self) -> Repository {
        self.registry.repository("team/app").unwrap()
    }

    fn connect(&self) -> Client {
        self.server.connect()
    }

    /// Sends a request on a connection of its own, and returns the answer.
    async fn ask(&self, request: &str) -> Answer {
        self.connect().ask(request).await
    }

    async fn upload(&self) -> String {
        let opened = self.repository().open_upload(Algorithm::Sha256).await.unwrap();
        format!("/v2/team/app/blobs/uploads/{}", opened.id)
    }

    async fn has(&self, digest: &Digest) -> bool {
        self.repository().blob(digest).await.unwrap().is_some()
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, CONTENT.as_bytes())
}

/// Pushes [`CONTENT`] in a PATCH with these headers and this body, and closes with an empty PUT.
async fn pushes_with(headers: &str, body: &str) -> Answer {
    let world = World::new();
    let upload = world.upload().await;
    let mut client = world.connect();
    let patched = client
        .ask(&format!(
            "PATCH {upload} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}"
        ))
        .await;
    let closed = client
        .ask(&format!(
            "PUT {upload}?digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            digest()
        ))
        .await;
    assert_eq!(closed.status(), 201, "{patched:?} {closed:?}");
    assert!(world.has(&digest()).await);
    patched
}

// Requests that are served.

#[tokio::test]
async fn http_1_0_with_and_without_a_host() {
    let world = World::new();
    for host in ["", "Host: x\r\n"] {
        let mut client = world.connect();
        let answer = client.ask(&format!("GET /v2/ HTTP/1.0\r\n{host}\r\n")).await;
        assert_eq!((answer.status(), answer.body.as_str()), (200, "{}"));
        assert_eq!(client.closed().await, "");

        let mut client = world.connect();
        let opened = client
            .ask(&format!(
                "POST /v2/team/app/blobs/uploads/ HTTP/1.0\r\n{host}Content-Length: 0\r\n\r\n"
            ))
            .await;
        assert_eq!(opened.status(), 202);
        // Without a host, the location cannot be absolute.
        assert!(
            opened
                .header("location")
                .unwrap()
                .starts_with("/v2/team/app/blobs/uploads/"),
            "{opened:?}"
        );
        assert_eq!(client.closed().await, "");
    }
}

/// nginx proxies this way by default: the whole layer with one length, and no second request.
#[tokio::test]
async fn a_push_over_http_1_0() {
    let world = World::new();
    let upload = world.upload().await;

    let put = world
        .ask(&format!(
            "PUT {upload}?digest={} HTTP/1.0\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{CONTENT}",
            digest()
        ))
        .await;

    assert_eq!(put.status(), 201, "{put:?}");
    assert!(world.has(&digest()).await);
}

#[tokio::test]
async fn keep_alive_over_http_1_0_if_the_client_requests_it() {
    let world = World::new();
    let mut client = world.connect();
    for _ in 0..2 {
        let answer = client
            .ask("GET /v2/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_requested_close_is_announced_and_done() {
    let world = World::new();
    let mut client = world.connect();
    let answer = client
        .ask("GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;

    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn bodies_sized_chunked_and_in_pieces() {
    let sized = pushes_with("Content-Length: 10\r\n", CONTENT).await;
    assert_eq!(sized.header("range"), Some("0-9"));
    let chunked = pushes_with(
        "Transfer-Encoding: chunked\r\n",
        "4\r\n0123\r\n6;ext=1\r\n456789\r\n0\r\nTrailer: x\r\n\r\n",
    )
    .await;
    assert_eq!(chunked.header("range"), Some("0-9"));
    // The same length twice is one length.
    pushes_with("Content-Length: 10\r\nContent-Length: 10\r\n", CONTENT).await;
}

#[tokio::test]
async fn content_range_with_and_without_its_unit() {
    for range in ["0-9", "bytes 0-9/10", "bytes 0-9/*"] {
        let headers = format!("Content-Range: {range}\r\nContent-Length: 10\r\n");
        assert_eq!(pushes_with(&headers, CONTENT).await.status(), 202, "{range}");
    }
}

#[tokio::test]
async fn an_empty_patch_and_an_empty_put() {
    let world = World::new();
    let upload = world.upload().await;
    let mut client = world.connect();
    for length in ["Content-Length: 0", "Transfer-Encoding: chunked"] {
        let body = if length.contains("chunked") {
            "0\r\n\r\n"
        } else {
            ""
        };
        let patched = client
            .ask(&format!(
                "PATCH {upload} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(patched.status(), 202, "{patched:?}");
    }
    let empty = Digest::of(Algorithm::Sha256, b"");
    // Without any length there is no body.
    let put = client
        .ask(&format!(
            "PUT {upload}?digest={empty} HTTP/1.1\r\nHost: x\r\n\r\n"
        ))
        .await;

    assert_eq!(put.status(), 201, "{put:?}");
    assert!(world.has(&empty).await);
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let world = World::new();
    let upload = world.upload().await;
    let mut client = world.connect();
    client
        .send(format!(
            "PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(client.head().await.head, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(CONTENT).await;

    assert_eq!(client.answer().await.status(), 202);
}

/// The client gets its answer without sending the body, and the server does not wait for the body.
#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_and_is_refused_need_not_send() {
    let world = World::new();
    let mut client = world.connect();
    client
        .send(
            "PATCH /v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000 HTTP/1.1\r\nHost: x\r\n\
             Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;

    assert_eq!(client.answer().await.status(), 404);
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, "");
    assert!(begun.elapsed().as_secs() < 3);
}

#[tokio::test]
async fn several_accept_lines() {
    let world = World::new();
    let manifest =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let put = world
        .ask(&format!(
            "PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n\
             Content-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: {}\r\n\r\n{manifest}",
            manifest.len()
        ))
        .await;
    assert_eq!(put.status(), 201, "{put:?}");

    let got = world
        .ask(
            "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\
             Accept: application/vnd.docker.distribution.manifest.v2+json\r\naccept: application/vnd.oci.image.index.v1+json\r\n\r\n",
        )
        .await;

    assert_eq!(got.body, manifest);
}

/// containerd escapes neither the colon nor the slash.
#[tokio::test]
async fn a_mount_whose_query_is_not_escaped() {
    let world = World::new();
    let other = world.registry.repository("base/image").unwrap();
    other.push_blob(String::from(CONTENT), None).await.unwrap();

    let mounted = world
        .ask(&format!(
            "POST /v2/team/app/blobs/uploads/?mount={}&from=base/image HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            digest()
        ))
        .await;

    assert_eq!(mounted.status(), 201, "{mounted:?}");
    assert!(world.has(&digest()).await);
}

#[tokio::test]
async fn an_absolute_target_is_its_path() {
    let world = World::new();
    let answer = world
        .ask("GET http://somewhere.example:5000/v2/ HTTP/1.1\r\nHost: somewhere.example:5000\r\n\r\n")
        .await;

    assert_eq!((answer.status(), answer.body.as_str()), (200, "{}"));
}

#[tokio::test]
async fn the_host_of_an_absolute_target_overrides_the_header() {
    let server = Running::of(App::default().on(Method::GET, "/", |request| async move {
        Response::new(full(request.headers()["host"].to_str().unwrap().to_owned()))
    }));

    let answer = server
        .connect()
        .ask("GET http://a.example:5000/ HTTP/1.1\r\nHost: b.example\r\n\r\n")
        .await;

    assert_eq!(answer.body, "a.example:5000");
}

#[tokio::test]
async fn other_targets_are_refused() {
    let world = World::new();
    for request in [
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
        "GET //v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let answer = world.ask(request).await;
        assert!((400..500).contains(&answer.status()), "{request}: {answer:?}");
    }
}

#[tokio::test]
async fn pipelined_requests() {
    let world = World::new();
    let upload = world.upload().await;
    let mut client = world.connect();
    client
        .send(format!(
            "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n\
             PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{CONTENT}\
             GET {upload} HTTP/1.1\r\nHost: x\r\n\r\n"
        ))
        .await;

    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.answer().await.status(), 202);
    assert_eq!(client.answer().await.header("range"), Some("0-9"));
}

// Requests that are refused.

/// Asserts that a request is refused, and that nothing after it counts as a request.
async fn refuses(status: u16, request: &str) {
    let world = World::new();
    let upload = world.upload().await;
    let mut client = world.connect();
    let smuggled = format!("DELETE {upload} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send(request.replace("UPLOAD", &upload)).await;
    let went = client.try_send(smuggled.as_bytes()).await;

    let answer = client.answer().await;

    answer.assert_refusal(status);
    assert_eq!(client.closed().await, "", "{request}, went: {went}");
    let id = upload.rsplit('/').next().unwrap().parse().unwrap();
    let state = world.repository().upload(&id).await.unwrap();
    assert_eq!(state.unwrap().offset, 0, "{request}");
}

#[tokio::test]
async fn two_lengths_are_refused() {
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH: 0",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: 5\r\nContent-Length: +5",
    ] {
        refuses(
            400,
            &format!("PATCH UPLOAD HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n"),
        )
        .await;
    }
}

/// The head may arrive in any pieces.
#[tokio::test(start_paused = true)]
async fn a_pipelined_request_is_checked_too() {
    let world = World::new();
    let upload = world.upload().await;
    let first = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = world.connect();
    client
        .send(format!(
            "{first}{first}PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE {upload} HTTP/1.1\r\nHost: x\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.answer().await.status(), 200);
    client.answer().await.assert_refusal(400);
    assert_eq!(client.closed().await, "");
    let id = upload.rsplit('/').next().unwrap().parse().unwrap();
    assert!(world.repository().upload(&id).await.unwrap().is_some());

    let twice = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    for body in [
        "Content-Length: 5\r\n\r\n01234",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n\r\n",
    ] {
        let mut client = world.connect();
        client
            .send(format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\n{body}{twice}"))
            .await;
        assert_eq!(client.answer().await.status(), 202, "{body}");
        client.answer().await.assert_refusal(400);
        assert_eq!(client.closed().await, "");
    }

    let mut client = world.connect();
    client.send(format!("{first}GET /v2")).await;
    assert_eq!(client.answer().await.status(), 200);
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, "");
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn invalid_lengths_are_refused() {
    for length in [
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\u{b}chunked",
    ] {
        refuses(
            400,
            &format!("PATCH UPLOAD HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n0\r\n\r\n"),
        )
        .await;
    }
    refuses(
        400,
        "PATCH UPLOAD HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
}

/// hyper removes the last coding, and ignores the others.
#[tokio::test]
async fn codings_besides_chunked_are_not_implemented() {
    for codings in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
    ] {
        refuses(
            501,
            &format!("PATCH UPLOAD HTTP/1.1\r\nHost: x\r\n{codings}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        )
        .await;
    }
}

#[tokio::test]
async fn invalid_headers_are_refused() {
    for header in [
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        " X: a",
        "X : a",
        "X",
        ": a",
        "X: a\0b",
        "X: a\rb",
    ] {
        refuses(400, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn http_1_1_without_a_host_or_with_two_is_refused() {
    for hosts in ["", "Host: x\r\nHost: x\r\n", "Host: x\r\nHost: y\r\n"] {
        refuses(400, &format!("GET /v2/ HTTP/1.1\r\n{hosts}\r\n")).await;
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    for request in [
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "GET /v2/\r\n\r\n",
        "GET /v2/ HTTP/3.0\r\n\r\n",
        "GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/\u{1} HTTP/1.1\r\nHost: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        refuses(400, request).await;
    }
}

#[tokio::test]
async fn a_head_of_300_kb_is_refused_before_it_is_complete() {
    let world = World::new();
    for head in [
        format!(
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "x".repeat(300 << 10)
        ),
        format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(300 << 10)),
        format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}", "X: x\r\n".repeat(50 << 10)),
    ] {
        let mut client = world.connect();
        // The client can send everything, so that it then reads the answer.
        assert!(client.try_send(head.as_bytes()).await);

        client.answer().await.assert_refusal(431);
    }
}

#[tokio::test]
async fn the_lines_of_a_head_are_counted_by_the_registry() {
    let world = World::new();
    let lines = |number: usize| {
        format!(
            "GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "X: x\r\n".repeat(number - 1)
        )
    };
    assert_eq!(world.ask(&lines(256)).await.status(), 200);
    assert_eq!(world.ask(&lines(257)).await.status(), 431);
    assert_eq!(world.ask(&lines(512)).await.status(), 431);

    world.ask(&lines(513)).await.assert_refusal(431);
}

#[tokio::test]
async fn a_refusal_is_sent_after_the_answers_to_earlier_requests() {
    let world = World::new();
    let mut client = world.connect();
    assert_eq!(
        client.ask("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.status(),
        200
    );

    client.ask("nonsense\r\n\r\n").await.assert_refusal(400);
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn the_valid_part_of_a_malformed_body_is_kept() {
    let world = World::new();
    let upload = world.upload().await;
    for chunk in ["zz\r\n", "-1\r\n", "5\r\n01234XX", "fffffffffffffffff\r\n"] {
        let mut client = world.connect();
        client
            .send(format!(
                "PATCH {upload} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), 400, "{chunk}: {answer:?}");
        assert!(answer.body.contains("SIZE_INVALID"), "{chunk}: {answer:?}");
        // A client that is still sending receives the answer.
        assert!(client.try_send(&[b'x'; 256 << 10]).await, "{chunk}");
        client.0.shutdown().await.unwrap();
        assert_eq!(client.closed().await, "", "{chunk}");
    }
}

// Over HTTP/2.

/// The status of a request with an `:authority` and a `host`.
async fn status_over_http_2(authority: &str, host: Option<&str>) -> u16 {
    let world = World::new();
    let (mut client, connection) = h2::client::handshake(world.server.pipe()).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(format!("http://{authority}/v2/")).version(Version::HTTP_2);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    answer.await.unwrap().status().as_u16()
}

#[tokio::test]
async fn over_http_2_a_host_that_contradicts_the_authority_is_refused() {
    assert_eq!(status_over_http_2("a:5000", Some("b:5000")).await, 400);
    assert_eq!(status_over_http_2("a:5000", Some("a:5000")).await, 200);
    assert_eq!(status_over_http_2("a:5000", None).await, 200);
}
