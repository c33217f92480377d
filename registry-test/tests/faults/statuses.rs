//! Answers in place of the registry's.

use crate::client::{End, MANIFEST, get, put_manifest, receive, send};
use registry_test::{GET, POST, PUT, TestRegistry, on, on_any, status};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, SystemTime},
};

#[test]
fn a_client_that_tries_again_succeeds_after_refusals() {
    let registry = TestRegistry::start();
    let busy = registry.fault(on(PUT).manifest().first(2), status(429).retry_after(1));

    let answers = [0; 3].map(|_| (put_manifest(&registry), registry.digest("app:v1")));

    let statuses = answers.each_ref().map(|(answer, _)| answer.status());
    assert_eq!(statuses, [Some(429), Some(429), Some(201)]);
    let held = answers.each_ref().map(|(_, held)| held.is_some());
    assert_eq!(
        held,
        [false, false, true],
        "the registry gets nothing of what is refused"
    );
    let refusal = &answers[0].0;
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert_eq!(refusal.header("content-type"), Some("application/json"));
    assert!(
        refusal
            .body()
            .starts_with(br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"#)
    );
    assert_eq!((busy.fired(), refusal.end), (2, End::Fin));
}

#[test]
fn a_refusal_has_the_headers_the_code_and_the_time_of_the_test() {
    let registry = TestRegistry::start();
    let noon = SystemTime::UNIX_EPOCH + Duration::from_hours(12);
    let refusal = status(503)
        .code("MAINTENANCE")
        .header("X-Reason", "move")
        .retry_at(noon);
    registry.fault(on_any(), refusal);

    let answer = get(&registry, "/v2/");

    assert_eq!(answer.status(), Some(503));
    assert_eq!(answer.header("x-reason"), Some("move"));
    assert_eq!(
        answer.header("retry-after"),
        Some("Thu, 01 Jan 1970 12:00:00 GMT")
    );
    assert!(answer.body().starts_with(br#"{"errors":[{"code":"MAINTENANCE""#));
}

#[test]
fn a_connection_goes_on_after_an_answer_of_the_fixture() {
    let registry = TestRegistry::start();
    registry.fault(on(PUT).manifest(), status(502));
    registry.fault(on(POST), status(204));
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let body = MANIFEST.len();

    let put =
        format!("PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\nContent-Length: {body}\r\n\r\n{MANIFEST}");
    let post = "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let last = "GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{put}{post}{last}").as_bytes()).unwrap();
    receive(&mut stream);

    let requests = registry.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|one| (one.status(), one.connection, one.sent))
        .collect();
    assert_eq!(
        seen,
        [(Some(502), 0, body as u64), (Some(204), 0, 2), (Some(200), 0, 0)]
    );
}

#[test]
fn a_client_that_waits_for_leave_gets_the_refusal_in_place_of_it() {
    let registry = TestRegistry::start();
    registry.fault(on(PUT).manifest(), status(401));

    // It has announced a body, and sends none.
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let head =
        "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = receive(&mut stream);

    assert_eq!((answer.status(), answer.end), (Some(401), End::Fin));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn a_refusal_after_the_body_comes_after_the_body() {
    let registry = TestRegistry::start();
    registry.fault(on(PUT).manifest(), status(500).after_body());
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let head = "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\nConnection: close\r\nExpect: 100-continue\r\n\
                Content-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();

    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(registry.requests()[0].status(), None);
    stream.write_all(b"123456789").unwrap();
    let answer = receive(&mut stream);

    assert_eq!(answer.status(), Some(500));
    assert_eq!(registry.requests()[0].sent, 9);
    assert_eq!(registry.digest("app:v1"), None);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let registry = TestRegistry::start();
    registry.fault(on_any().manifest(), status(404));

    let answer = send(registry.addr(), "HEAD", "/v2/app/manifests/v1", "", b"");

    assert_eq!((answer.status(), answer.body()), (Some(404), &b""[..]));
    assert_ne!(answer.header("content-length"), Some("0"));
}

#[test]
fn a_fault_happens_to_the_request_with_its_number() {
    let registry = TestRegistry::start();
    registry.fault(on(GET).ping().nth(2), status(500));

    let statuses = [0; 3].map(|_| get(&registry, "/v2/").status());

    assert_eq!(statuses, [Some(200), Some(500), Some(200)]);
}
