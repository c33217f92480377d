//! A registry in a host's router, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{
    Router,
    extract::{Request, State},
    middleware::map_request,
    routing::get,
};
use registry_axum::{Mount, router, router_at};
use registry_core::{
    Algorithm, Registry,
    protocol::Links,
    service::FileSender,
    storage::{Content, MemoryStorage},
    upload_id::UploadId,
};
use registry_storage_fs::FsStorage;
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
    let nest = |prefix: &str, inner: Router| Router::<()>::new().nest(prefix, inner);
    let at = |prefix: &str| router_at(prefix, registry()).unwrap();
    let merged = || Router::new().merge(router(registry()));
    for (prefix, app) in [
        ("/registry", at("/registry")),
        ("/registry", at("/registry/")),
        ("/images", nest("/images", router(registry()))),
        ("/images", nest("/images/", router(registry()))),
        ("/images", nest("/images", merged())),
        (
            "/images",
            Router::new().nest_service("/images", router(registry())),
        ),
        ("/a/b", nest("/a", nest("/b", router(registry())))),
        ("/a/b", nest("/a", at("/b"))),
        ("/of/ann", nest("/of/{user}", router(registry()))),
        ("/of/a%20b", nest("/of/{user}", router(registry()))),
    ] {
        let address = serve(app).await;

        for uploads in ["team/app/blobs/uploads/", "team%2Fapp%2Fblobs/uploads%2F"] {
            let opened = exchange(&address, &format!("POST {prefix}/v2/{uploads}")).await;
            let location = header(&opened, "location").unwrap_or_else(|| panic!("{prefix}: {opened}"));
            assert!(
                location.starts_with(&format!("{prefix}/v2/team/app/blobs/uploads/")),
                "{location}"
            );
            let status = exchange(&address, &format!("GET {location}")).await;
            assert!(status.starts_with("HTTP/1.1 204"), "{prefix}: {status}");
            let closed = exchange(&address, &format!("PUT {location}?digest={EMPTY}")).await;
            let blob = header(&closed, "location").unwrap_or_else(|| panic!("{prefix}: {closed}"));
            let pulled = exchange(&address, &format!("GET {blob}")).await;
            assert!(pulled.starts_with("HTTP/1.1 200"), "{prefix}: {pulled}");
        }
        assert!(exchange(&address, "GET /v2/").await.starts_with("HTTP/1.1 404"));
    }
}

/// Digest of the empty string.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test]
async fn a_configured_location_replaces_the_prefix_of_a_router_and_a_requests_links_replace_both() {
    let built = || Registry::builder(MemoryStorage::new()).allow_anonymous_push();
    let configured = || built().external_url("https://r.example/base").unwrap().build();
    let external = |registry| Mount::new(registry).external_path("/seen").unwrap();
    let add = |mut request: Request| async {
        request.extensions_mut().insert(Links::below("/asked").unwrap());
        request
    };
    for (inner, base) in [
        (router(configured()), "https://r.example/base/v2/"),
        (external(configured()).router(), "/seen/v2/"),
        (external(registry()).router(), "/seen/v2/"),
        (
            external(configured()).router().layer(map_request(add)),
            "/asked/v2/",
        ),
    ] {
        let address = serve(Router::new().nest("/images", inner)).await;

        let opened = exchange(&address, "POST /images/v2/a/blobs/uploads/").await;

        let location = header(&opened, "location").unwrap_or_else(|| panic!("{opened}"));
        assert!(location.starts_with(base), "{location}");
    }
}

#[tokio::test]
async fn a_router_that_lacks_its_state_takes_a_mount() {
    #[derive(Clone)]
    struct Host(&'static str);

    let mount = Mount::new(registry());
    let host = Router::new()
        .route("/", get(|State(Host(name))| async move { name }))
        .merge(&mount)
        .nest("/images", Mount::new(registry()).into());
    let address = serve(host.with_state(Host("host"))).await;

    assert!(exchange(&address, "GET /").await.ends_with("host"));
    for target in ["/v2/", "/images/v2/"] {
        let answer = exchange(&address, &format!("GET {target}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Merges `other` into a router with a registry, and returns the message of the panic.
async fn merged_with(other: Router) -> String {
    let merging = tokio::spawn(async { router(registry()).merge(other) });
    let panic = merging.await.expect_err("both are at one root").into_panic();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn two_at_one_root_panic_with_its_path() {
    let message = merged_with(router(registry())).await;
    assert!(
        message.contains("conflict") && message.contains("\"/v2"),
        "{message}"
    );

    let own = Router::new().route("/v2/{*rest}", get(|| async {}));
    let message = merged_with(own).await;
    assert!(message.contains("/v2/{*registry}"), "{message}");
}

#[tokio::test]
async fn a_path_that_is_no_prefix_is_refused() {
    for prefix in [
        "registry",
        "https://example.com/x",
        "/{rest}",
        "/:rest",
        "/a/*rest",
        "/a b",
        "//a",
        "/ä",
        "/%C3%A4",
    ] {
        let refused = Mount::new(registry()).at(prefix).unwrap_err();
        assert!(refused.to_string().contains("ASCII"), "{refused}");
    }
}

#[tokio::test]
async fn the_offer_of_a_listener_to_send_files_reaches_the_registry() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::builder(FsStorage::open(directory.path()).unwrap()).build();
    let repository = registry.repository("team/app").unwrap();
    let digest = repository.push_blob("content", None).await.unwrap().digest;
    let sender = FileSender::new(|file| {
        assert_eq!(file.range, 0..7);
        Some(Content::bytes("replace".into()).into_stream())
    });
    let offering = map_request(move |mut request: Request| {
        request.extensions_mut().insert(sender.clone());
        std::future::ready(request)
    });
    let address = serve(router(registry).layer(offering)).await;

    let answer = exchange(&address, &format!("GET /v2/team/app/blobs/{digest}")).await;

    assert!(answer.ends_with("\r\n\r\nreplace"), "{answer}");
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
