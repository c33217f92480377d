//! A registry in a host's router, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, routing::get};
use registry_axum::{Mount, router, router_at};
use registry_core::{Algorithm, Registry, storage::MemoryStorage, upload_id::UploadId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

fn registry() -> Registry {
    Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build()
}

/// Serves until the test's runtime ends.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends `head`, which lacks the headers that end a connection, and returns the whole answer.
async fn exchange(address: &str, request_line: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{request_line} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let lines = answer.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

#[tokio::test]
async fn the_hosts_own_routes_and_fallback_stay_its_own() {
    let host = Router::new()
        .route("/", get(|| async { "host" }))
        .fallback(|| async { "fallback" });
    let address = serve(host.merge(router(registry()))).await;

    assert!(exchange(&address, "GET /").await.ends_with("host"));
    assert!(exchange(&address, "GET /v3/").await.ends_with("fallback"));
    assert!(exchange(&address, "GET /v2x").await.ends_with("fallback"));
    for target in ["/v2", "/v2/"] {
        let answer = exchange(&address, &format!("GET {target}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn raw_paths_reach_the_core_untouched() {
    let address = serve(router(registry())).await;

    for path in [
        "/v2/a%252Fb/tags/list",
        "/v2/a%2F..%2Fb/tags/list",
        "/v2/a/../b/tags/list",
        "/v2/%2e%2e/tags/list",
        "/v2/%ff/tags/list",
        "/v2//a/tags/list",
    ] {
        let answer = exchange(&address, &format!("GET {path}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("NAME_INVALID"),
            "{path}: {answer}"
        );
    }
    let answer = exchange(&address, "GET /v2//").await;
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("UNSUPPORTED"),
        "{answer}"
    );
    let answer = exchange(&address, "TRACE /v2/a/tags/list").await;
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.contains("UNSUPPORTED"),
        "{answer}"
    );
    assert_eq!(header(&answer, "allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn below_a_prefix_every_location_can_be_followed() {
    let nested = Router::new().nest(
        "/registry",
        Mount::new(registry())
            .external_path("/registry")
            .unwrap()
            .router(),
    );
    for app in [
        router_at("/registry", registry()).unwrap(),
        router_at("/registry/", registry()).unwrap(),
        nested,
    ] {
        let address = serve(app).await;

        let opened = exchange(&address, "POST /registry/v2/team/app/blobs/uploads/").await;
        let location = header(&opened, "location").unwrap_or_else(|| panic!("{opened}"));

        assert!(
            location.starts_with("/registry/v2/team/app/blobs/uploads/"),
            "{location}"
        );
        let status = exchange(&address, &format!("GET {location}")).await;
        assert!(status.starts_with("HTTP/1.1 204"), "{status}");
        assert!(exchange(&address, "GET /v2/").await.starts_with("HTTP/1.1 404"));

        let opened = exchange(&address, "POST /registry/v2/team%2Fapp%2Fblobs/uploads%2F").await;
        let location = header(&opened, "location").unwrap_or_else(|| panic!("{opened}"));
        assert!(
            location.starts_with("/registry/v2/team/app/blobs/uploads/"),
            "{location}"
        );
    }
}

#[tokio::test]
async fn a_path_that_is_no_prefix_is_refused() {
    for prefix in ["registry", "https://example.com/x", "/{rest}", "/a b", "//a"] {
        assert!(Mount::new(registry()).at(prefix).is_err(), "{prefix}");
    }
}

#[tokio::test]
async fn what_a_vanished_client_had_sent_is_kept() {
    let registry = registry();
    let mount = Mount::new(registry.clone());
    let address = serve(mount.router()).await;
    let repository = registry.repository("team/app").unwrap();
    let id: UploadId = repository.open_upload(Algorithm::Sha256).await.unwrap().id;

    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "PATCH /v2/team/app/blobs/uploads/{id} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    // The interim answer says that the task is there and reads.
    let mut interim = [0; 25];
    connection.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(b"0123456789").await.unwrap();
    drop(connection);
    mount.drained().await;

    assert_eq!(repository.upload(&id).await.unwrap().unwrap().offset, 10);
}
