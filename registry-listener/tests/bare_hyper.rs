//! A registry in a host that uses only hyper, whose clients disconnect.

use async_trait::async_trait;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use registry_core::{
    Algorithm, Hooks, Registry,
    hooks::{Context, Event, EventKind, HookError},
    manifest::Manifest,
    service::RegistryService,
    storage::{MemoryStorage, PutManifest},
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

/// Serves one connection. The task ends with it.
fn serve(service: RegistryService<Incoming>) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (client, server) = duplex(64 << 10);
    let connection = async move {
        let answer = service_fn(|request: Request<Incoming>| service.clone().call(request));
        http1::Builder::new()
            .serve_connection(TokioIo::new(server), answer)
            .await
    };
    (client, tokio::spawn(connection))
}

/// Holds each push of a manifest until it is let through, and reports the events.
#[derive(Debug)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
    events: mpsc::UnboundedSender<String>,
}

#[async_trait]
impl Hooks for Gate {
    async fn before_put_manifest(&self, _: &Context, _: &Manifest, _: &PutManifest) -> Result<(), HookError> {
        self.entered.notify_one();
        self.open.notified().await;
        Ok(())
    }

    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { tags, .. } = &event.kind {
            let tags: Vec<&str> = tags.iter().map(|moved| moved.tag.as_str()).collect();
            // The test may have ended.
            let _ = self.events.send(tags.join(","));
        }
    }
}

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[tokio::test]
async fn an_operation_is_completed_and_its_event_sent_after_its_client_has_disconnected() {
    let storage = MemoryStorage::new();
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (sender, mut events) = mpsc::unbounded_channel();
    let gate = Gate {
        entered: Arc::clone(&entered),
        open: Arc::clone(&open),
        events: sender,
    };
    let registry = Registry::builder(storage.clone())
        .hooks(gate)
        .allow_anonymous_push()
        .build();
    // Only the task of the request keeps the hooks, once the connection has ended.
    let (mut client, connection) = serve(registry.into_service(|task| {
        tokio::spawn(task);
    }));

    let request = format!(
        "PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{INDEX}",
        INDEX.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    entered.notified().await;
    drop(client);
    let ended = connection.await.unwrap();
    assert!(ended.unwrap_err().is_incomplete_message());
    open.notify_one();

    assert_eq!(events.recv().await.as_deref(), Some("v1"));
    let host = Registry::builder(storage).build();
    let repository = host.repository("team/app").unwrap();
    assert_eq!(repository.manifest("v1").await.unwrap().unwrap().bytes, INDEX);
}

#[tokio::test]
async fn bytes_of_a_disconnected_client_are_kept() {
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let repository = registry.repository("team/app").unwrap();
    let id = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
    let tasks = TaskTracker::new();
    let spawning = tasks.clone();
    let (mut client, connection) = serve(registry.into_service(move |task| {
        spawning.spawn(task);
    }));

    let head = format!(
        "PATCH /v2/team/app/blobs/uploads/{id} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // The interim answer shows that the task has begun to read.
    let mut interim = [0; 25];
    client.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"0123456789").await.unwrap();
    drop(client);
    assert!(connection.await.unwrap().is_err());
    tasks.close();
    tasks.wait().await;

    assert_eq!(repository.upload(&id).await.unwrap().unwrap().offset, 10);
}
