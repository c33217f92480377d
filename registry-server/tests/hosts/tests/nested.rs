//! A host that nests the registry in a router of its own.

use axum::{Router, routing::get};
use registry_core::{Registry, storage::MemoryStorage};
use registry_hosts::{push_and_pull, request};
use tokio::{net::TcpListener, task::spawn_blocking};

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_registry_sends_clients_to_where_it_is() {
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let app = Router::new()
        .route("/", get(async || "the host"))
        .nest("/images", registry_axum::router(registry));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(registry_listener::serve(listener, app));

    spawn_blocking(move || {
        push_and_pull(address, "/images");
        assert_eq!(request(address, "GET", "/", "").body, "the host");
    })
    .await
    .unwrap();

    serving.abort();
}
