//! Connections that end, are refused, or wait.

use crate::client::{Answer, BLOB, End, get, plant_blob, put_manifest, receive, send};
use registry_test::{
    GET, PATCH, PUT,
    Side::{Request, Response},
    TestRegistry, cut, lost_answer, on, on_any, refuse, stall,
};
use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_download_breaks_off_with_an_end_or_a_reset() {
    for (fault, end) in [
        (cut(Response).after(1000), End::Fin),
        (cut(Response).after(1000).reset(), End::Reset),
    ] {
        let registry = TestRegistry::start();
        let path = plant_blob(&registry, BLOB);
        registry.fault(on(GET).blob(), fault);

        let broken = get(&registry, &path);
        let rest = send(registry.addr(), "GET", &path, "Range: bytes=1000-\r\n", b"");

        assert_eq!(
            (broken.status(), broken.body(), broken.end),
            (Some(200), &BLOB[..1000], end)
        );
        assert_eq!(registry.requests().blob().method("GET")[0].cut, Some(Response));
        assert_eq!(
            [broken.body(), rest.body()].concat(),
            BLOB,
            "a client that continues has it all"
        );
    }
}

#[test]
fn an_upload_that_breaks_off_leaves_a_session_and_no_blob() {
    for reset in [false, true] {
        let registry = TestRegistry::start();
        let fault = cut(Request).after(1000);
        registry.fault(on(PATCH).upload(), if reset { fault.reset() } else { fault });
        let open = send(registry.addr(), "POST", "/v2/app/blobs/uploads/", "", b"");
        let session = open.header("location").unwrap();

        let broken = send(registry.addr(), "PATCH", session, "", BLOB);

        let end = if reset { End::Reset } else { End::Fin };
        assert_eq!((broken.bytes.as_slice(), broken.end), (&b""[..], end));
        let requests = registry.requests();
        let patch = requests.iter().find(|one| one.method == PATCH).unwrap();
        assert_eq!((patch.sent, patch.cut), (1000, Some(Request)));
        assert_eq!(registry.uploads_left_open().len(), 1);
    }
}

#[test]
fn a_lost_answer_is_to_a_request_that_has_succeeded() {
    let registry = TestRegistry::start();
    registry.fault(on(PUT).manifest(), lost_answer());

    let answers = [0; 2].map(|_| (put_manifest(&registry), registry.digest("app:v1")));

    let [(lost, held), (again, _)] = answers;
    assert_eq!((lost.bytes.as_slice(), lost.end), (&b""[..], End::Fin));
    assert!(held.is_some(), "the registry has acted");
    assert_eq!(again.status(), Some(201));
}

#[test]
fn a_refused_request_does_not_reach_the_registry() {
    let registry = TestRegistry::start();
    registry.fault(on(PUT).manifest(), refuse());

    let refused = put_manifest(&registry);

    assert_eq!((refused.bytes.as_slice(), refused.end), (&b""[..], End::Reset));
    assert_eq!(registry.digest("app:v1"), None);
    assert_eq!(put_manifest(&registry).status(), Some(201));
}

#[test]
fn a_stalled_exchange_goes_on_when_its_gate_opens() {
    for side in [Request, Response] {
        let registry = TestRegistry::start();
        let stalled = registry.fault(on(GET).ping(), stall(side));
        thread::scope(|scope| {
            let client = scope.spawn(|| get(&registry, "/v2/"));
            assert!(stalled.gate().reached(1));
            assert_eq!(registry.requests()[0].status(), None);

            stalled.gate().open();

            assert_eq!(client.join().unwrap().status(), Some(200));
        });
    }
}

#[test]
fn a_stall_ends_when_the_client_leaves() {
    for side in [Request, Response] {
        let registry = TestRegistry::start();
        let stalled = registry.fault(on(GET).ping(), stall(side));
        let mut client = TcpStream::connect(registry.addr()).unwrap();
        client.write_all(b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
        assert!(stalled.gate().reached(1));

        drop(client);

        until(|| registry.requests()[0].cut == Some(side));
    }
}

#[test]
fn a_stall_in_a_body_lets_the_bytes_before_it_pass() {
    let registry = TestRegistry::start();
    let path = plant_blob(&registry, BLOB);
    let stalled = registry.fault(on(GET).blob(), stall(Response).after(700));
    thread::scope(|scope| {
        let client = scope.spawn(|| get(&registry, &path));
        assert!(stalled.gate().reached(1));
        let requests = registry.requests().method("GET").blob();
        assert_eq!(requests[0].reply.as_ref().unwrap().received, 700);
        stalled.gate().open();
        assert_eq!(client.join().unwrap().body(), BLOB);
    });
}

#[test]
fn the_drop_of_the_registry_ends_what_is_stalled() {
    for side in [Request, Response] {
        let registry = TestRegistry::start();
        let stalled = registry.fault(on_any(), stall(side));
        let mut client = TcpStream::connect(registry.addr()).unwrap();
        client.write_all(b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
        assert!(stalled.gate().reached(1));
        let begun = Instant::now();

        drop(registry);

        let Answer { bytes, end } = receive(&mut client);
        assert_eq!((bytes.as_slice(), end), (&b""[..], End::Fin));
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it did not wait for the time-out"
        );
    }
}

#[test]
fn each_blob_breaks_off_once_in_whatever_order_they_are_requested() {
    let registry = TestRegistry::start();
    let blobs: Vec<_> = (0..4_u8).map(|one| vec![one; 5000]).collect();
    let paths: Vec<_> = blobs.iter().map(|blob| plant_blob(&registry, blob)).collect();
    let rule = registry.fault(on(GET).blob().each_first(), cut(Response).after(100));

    let twice = |path: &String| [0; 2].map(|_| get(&registry, path).body().len());
    let lengths: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || twice(path)))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });

    assert_eq!(lengths, [[100, 5000]; 4]);
    assert_eq!(rule.fired(), 4);
}

/// Waits until a condition is met that another thread of the fixture meets soon.
fn until(met: impl Fn() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it never comes, or by the time-out"
        );
        thread::yield_now();
    }
}
