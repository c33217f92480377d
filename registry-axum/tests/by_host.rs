//! Registries by host, over real sockets: HTTP/1.1, HTTP/2, and routers with a prefix.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use registry_axum::Mount;
use registry_core::{
    Registry, Tag,
    service::{ByHost, HostTable, ManifestPush},
    storage::MemoryStorage,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Returns a registry that holds an index in one repository.
async fn tenant(repository: &str) -> Registry {
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let repository = registry.repository(repository).unwrap();
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), INDEX);
    repository.put_manifest(push).await.unwrap();
    registry
}

async fn mount() -> Mount {
    let table = HostTable::new();
    table.insert("a.example".parse().unwrap(), tenant("a/app").await);
    table.insert("b.example".parse().unwrap(), tenant("b/app").await);
    Mount::by_host(ByHost::new(table))
}

/// Serves until the test's runtime ends.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(registry_listener::serve(listener, app));
    address
}

/// Sends the head of a request over HTTP/1.1, and returns the whole answer.
async fn exchange(address: &str, line: &str, host: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_host_header_and_the_absolute_form_select_a_tenant() {
    let address = serve(mount().await.router()).await;

    for (target, host, repository) in [
        ("/v2/_catalog", "a.example", "a/app"),
        ("/v2/_catalog", "B.EXAMPLE:5000", "b/app"),
        ("http://b.example/v2/_catalog", "a.example", "b/app"),
    ] {
        let answer = exchange(&address, &format!("GET {target}"), host).await;
        assert!(
            answer.ends_with(&format!("{{\"repositories\":[\"{repository}\"]}}")),
            "{answer}"
        );
    }
    let unknown = exchange(&address, "GET /v2/", &address).await;
    assert!(unknown.starts_with("HTTP/1.1 421 "), "{unknown}");
}

#[tokio::test]
async fn the_authority_of_http2_selects_a_tenant_for_each_request_of_a_connection() {
    let address = serve(mount().await.router()).await;
    let connection = TokioIo::new(TcpStream::connect(&address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), connection);
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);

    for (host, status, body) in [
        ("a.example", 200, "{\"repositories\":[\"a/app\"]}"),
        ("b.example:443", 200, "{\"repositories\":[\"b/app\"]}"),
        ("c.example", 421, "{\"errors\":[{\"code\":\"NAME_UNKNOWN\""),
    ] {
        let request = http::Request::get(format!("http://{host}/v2/_catalog"));
        client.ready().await.unwrap();
        let answer = client
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();

        assert_eq!(answer.status(), status, "{host}");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with(body), "{text}");
    }
}

#[tokio::test]
async fn below_a_prefix_a_location_has_the_prefix_or_the_external_url_of_the_tenant() {
    let table = HostTable::new();
    table.insert("a.example".parse().unwrap(), tenant("a/app").await);
    let external = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .external_url("https://b.example/own")
        .unwrap();
    table.insert("b.example".parse().unwrap(), external.build());
    let mount = Mount::by_host(ByHost::new(table));
    let address = serve(
        Router::new()
            .nest("/nested", mount.router())
            .merge(mount.clone().at("/at").unwrap().router()),
    )
    .await;

    for prefix in ["/nested", "/at"] {
        let push = format!("POST {prefix}/v2/team/app/blobs/uploads/");
        let first = exchange(&address, &push, "a.example").await;
        assert!(
            first.contains(&format!("location: {prefix}/v2/team/app/blobs/uploads/")),
            "{first}"
        );
        let second = exchange(&address, &push, "b.example").await;
        let location = "location: https://b.example/own/v2/team/app/blobs/uploads/";
        assert!(second.contains(location), "{second}");
    }
    mount.drained().await;
}
