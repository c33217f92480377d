//! Restarts of a test registry.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_test::{TestRegistry, image};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};
use support::ask;

#[test]
fn a_restart_cuts_connections_and_keeps_port_content_uploads_and_tokens() {
    let registry = TestRegistry::builder()
        .bearer("ann", "secret")
        .seed("app:v1", image())
        .start();
    let address = registry.addr();
    let issued = ask(
        address,
        "GET /token?scope=repository:app:pull,push",
        &[("Authorization", "Basic YW5uOnNlY3JldA==")],
        "",
    );
    let token = format!("Bearer {}", issued.json()["token"].as_str().unwrap());
    let authorization = [("Authorization", &*token)];
    let opened = ask(address, "POST /v2/app/blobs/uploads/", &authorization, "");
    let location = opened.header("location").unwrap().to_owned();
    let mut idle = TcpStream::connect(address).unwrap();
    write!(idle, "GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    idle.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 401");
    let mut pushing = TcpStream::connect(address).unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: r\r\nAuthorization: {token}\r\nContent-Length: 100\r\n\r\n01234"
    );
    pushing.write_all(head.as_bytes()).unwrap();

    registry.restart();

    for mut cut in [idle, pushing] {
        let mut rest = Vec::new();
        // The end may be orderly or a reset.
        let _ = cut.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(registry.addr(), address);
    let pulled = ask(address, "GET /v2/app/manifests/v1", &authorization, "");
    assert_eq!(pulled.status, 200);
    let [open] = &registry.uploads_left_open()[..] else {
        panic!("one session is open");
    };
    let rest = ask(
        address,
        &format!("PATCH {location}"),
        &[
            ("Authorization", &token),
            ("Content-Range", &format!("{}-{}", open.offset, open.offset + 4)),
        ],
        "56789",
    );
    assert_eq!(rest.status, 202, "{rest:?}");
}
