//! A host that runs the whole server, with one route of its own.

use axum::{Router, routing::get};
use registry_core::service::FileSender;
use registry_hosts::{push_and_pull, request};
use registry_server::{Config, Server, ServerBuilder, Sources};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};
use tokio::task::spawn_blocking;

/// Serves a route that is not offered to send files past the layers of the host.
async fn hello(request: axum::extract::Request) -> &'static str {
    assert!(request.extensions().get::<FileSender>().is_none());
    "hello of the host"
}

/// Starts a server with an operator listener in a directory.
async fn start(directory: &std::path::Path) -> Server {
    let file = directory.join("registry.yml");
    let images = directory.join("images");
    let text = format!(
        "version: 0.1\nauth: none\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0', debug: {{addr: '127.0.0.1:0', prometheus: {{enabled: true}}}}}}\n",
        images.display()
    );
    fs::write(&file, text).unwrap();
    let config = Config::load(Sources::new().file(&file)).unwrap();
    assert!(config.effective().contains("registry.yml:"));
    ServerBuilder::from_config(config)
        .routes(Router::new().route("/hello", get(hello)))
        .start()
        .await
        .unwrap()
}

/// Starts a server at once or not at all, with these ports for clients and operators.
async fn start_at_once(directory: &std::path::Path, ports: [u16; 2]) -> Server {
    let [clients, operators] = ports.map(|port| format!("127.0.0.1:{port}"));
    let images = directory.join("images").display().to_string();
    let sources = Sources::new()
        .set("storage.filesystem.rootdirectory", "test", images)
        .set("storage.filesystem.wait", "test", "0s")
        .set("http.addr", "test", clients)
        .set("http.debug.addr", "test", operators);
    let config = Config::load(sources).unwrap();
    ServerBuilder::from_config(config).start().await.unwrap()
}

/// Asks for health on a connection that stays open, as a monitor does.
fn monitoring(operators: u16) -> TcpStream {
    let mut connection = TcpStream::connect(("127.0.0.1", operators)).unwrap();
    connection
        .write_all(b"GET /debug/health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    connection.read_exact(&mut [0; 12]).unwrap();
    connection
}

/// Reads in process what a client has pushed.
async fn has_the_image(server: &Server) -> bool {
    let repository = server.registry().repository("team/app").unwrap();
    repository.manifest("v1").await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_server_runs_beside_a_route_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let address = server.address().unwrap();
    let operators = server.operator_address().unwrap();

    spawn_blocking(move || {
        push_and_pull(address, "");
        let own = request(address, "GET", "/hello", "");
        assert_eq!((own.status, &*own.body), (200, "hello of the host"));
        assert_eq!(request(address, "GET", "/v2/none/blobs/x", "").status, 400);
        assert_eq!(request(operators, "GET", "/debug/health", "").status, 200);
        let metrics = request(operators, "GET", "/metrics", "").body;
        assert!(metrics.contains("registry_storage_action_seconds"), "{metrics}");
    })
    .await
    .unwrap();
    assert!(has_the_image(&server).await);
    server.shutdown().await;

    // Nothing of it is left: neither a listener nor the lock of the directory.
    tokio::net::TcpStream::connect(address).await.unwrap_err();
    let again = start(directory.path()).await;
    assert!(has_the_image(&again).await);
    again.run_until(async {}).await.unwrap();
}

#[tokio::test]
async fn a_server_starts_at_once_where_another_one_was_shut_down() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_at_once(directory.path(), [0, 0]).await;
    let ports = [server.address(), server.operator_address()].map(|address| address.unwrap().port());
    let monitor = spawn_blocking(move || monitoring(ports[1])).await.unwrap();
    server.shutdown().await;

    let again = start_at_once(directory.path(), ports).await;

    again.shutdown().await;
    drop(monitor);
}
