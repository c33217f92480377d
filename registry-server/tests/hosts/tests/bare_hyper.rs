//! A host of hyper alone, whose client vanishes in the middle of a push.

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use registry_core::{
    Hooks, Registry,
    hooks::{Event, EventKind},
    storage::MemoryStorage,
};
use registry_hosts::{manifest, push_and_pull};
use std::{
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking};
use tokio_util::task::TaskTracker;

/// Reports the tags that move.
#[derive(Debug)]
struct Moves(mpsc::UnboundedSender<String>);

impl Hooks for Moves {
    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { tags, .. } = &event.kind {
            for moved in tags {
                self.0.send(moved.tag.to_string()).unwrap();
            }
        }
    }
}

/// Serves connections, each with hyper alone, and operations as tasks of their own.
async fn serve(listener: TcpListener, registry: Registry, operations: TaskTracker) {
    let service = registry.into_service::<Incoming>(move |operation| {
        operations.spawn(operation);
    });
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(service.clone());
        let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
        tokio::spawn(served);
    }
}

/// Sends a whole push of a manifest, and is gone before there is an answer.
fn push_and_vanish(server: SocketAddr) {
    let manifest = manifest();
    let mut connection = TcpStream::connect(server).unwrap();
    let length = manifest.len();
    write!(
        connection,
        "PUT /v2/team/app/manifests/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{manifest}"
    )
    .unwrap();
    connection.shutdown(Shutdown::Both).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_finished_and_reported_after_its_client_has_vanished() {
    let (sender, mut moves) = mpsc::unbounded_channel();
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(Moves(sender))
        .allow_anonymous_push()
        .build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operations = TaskTracker::new();
    let serving = tokio::spawn(serve(listener, registry.clone(), operations.clone()));

    spawn_blocking(move || {
        push_and_pull(address, "");
        push_and_vanish(address);
    })
    .await
    .unwrap();

    assert_eq!(moves.recv().await.as_deref(), Some("v1"));
    assert_eq!(moves.recv().await.as_deref(), Some("v2"));
    operations.close();
    operations.wait().await;
    let repository = registry.repository("team/app").unwrap();
    assert!(repository.manifest("v2").await.unwrap().is_some());
    serving.abort();
}
