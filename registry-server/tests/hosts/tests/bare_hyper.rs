//! A host of hyper alone, whose client vanishes in the middle of a push.

use async_trait::async_trait;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use registry_core::{
    Hooks, Registry,
    hooks::{Context, Event, EventKind, HookError},
    manifest::Manifest,
    storage::{MemoryStorage, PutManifest},
};
use registry_hosts::{manifest, push_and_pull};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{
        Notify, Semaphore,
        mpsc::{UnboundedSender, unbounded_channel},
    },
    task::spawn_blocking,
};
use tokio_util::task::TaskTracker;

/// Holds each push of a manifest until it has a permit, and reports the tags that move.
#[derive(Debug)]
struct Gate {
    entered: Arc<Notify>,
    permits: Arc<Semaphore>,
    moves: UnboundedSender<String>,
}

#[async_trait]
impl Hooks for Gate {
    async fn before_put_manifest(&self, _: &Context, _: &Manifest, _: &PutManifest) -> Result<(), HookError> {
        self.entered.notify_one();
        self.permits.acquire().await.unwrap().forget();
        Ok(())
    }

    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { tags, .. } = &event.kind {
            for moved in tags {
                self.moves.send(moved.tag.to_string()).unwrap();
            }
        }
    }
}

/// Serves connections, each with hyper alone, and operations as tasks of their own. Reports connections that break.
async fn serve(
    listener: TcpListener,
    registry: Registry,
    operations: TaskTracker,
    broken: UnboundedSender<hyper::Error>,
) {
    let service = registry.into_service::<Incoming>(move |operation| {
        operations.spawn(operation);
    });
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(service.clone());
        let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
        let broken = broken.clone();
        tokio::spawn(async move {
            if let Err(error) = served.await {
                broken.send(error).unwrap();
            }
        });
    }
}

/// Sends a whole push of a manifest.
fn send_push(server: SocketAddr) -> TcpStream {
    let manifest = manifest();
    let mut connection = TcpStream::connect(server).unwrap();
    let length = manifest.len();
    write!(
        connection,
        "PUT /v2/team/app/manifests/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{manifest}"
    )
    .unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_finished_and_reported_after_its_client_has_vanished() {
    let (sender, mut moves) = unbounded_channel();
    let (entered, permits) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(1)));
    let gate = Gate {
        entered: Arc::clone(&entered),
        permits: Arc::clone(&permits),
        moves: sender,
    };
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(gate)
        .allow_anonymous_push()
        .build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operations = TaskTracker::new();
    let (report, mut broken) = unbounded_channel();
    let serving = tokio::spawn(serve(listener, registry.clone(), operations.clone(), report));

    // A push with a client that waits for the answer uses the permit.
    spawn_blocking(move || push_and_pull(address, "")).await.unwrap();
    assert_eq!(moves.recv().await.as_deref(), Some("v1"));
    entered.notified().await;

    let client = spawn_blocking(move || send_push(address)).await.unwrap();
    entered.notified().await;
    drop(client);
    assert!(broken.recv().await.unwrap().is_incomplete_message());
    permits.add_permits(1);

    assert_eq!(moves.recv().await.as_deref(), Some("v2"));
    operations.close();
    operations.wait().await;
    let repository = registry.repository("team/app").unwrap();
    assert!(repository.manifest("v2").await.unwrap().is_some());
    serving.abort();
}
