//! The OCI protocol on the control socket: images in and out of a running server, with the authority of its host.
//!
//! A request is answered as one of a client, by the same registry: it has the same limits, hooks and events, and a
//! collection sees its uploads. The peer of the connection is the user.

use super::{operators::Operators, socket::Peer};
use crate::{access_log::AccessLog, transfers::Transfers};
use axum::{
    Router,
    body::Body,
    extract::{Extension, Request, State},
    middleware,
    response::Response,
    routing::any,
};
use registry_core::{auth::ClientAddress, protocol::Links};
use std::convert::Infallible;
use tower_service::Service as _;

/// Returns the routes of the registry, with the log of the server around them.
pub(super) fn routes(access_log: Option<AccessLog>) -> Router<Operators> {
    let routes = ["/v2", "/v2/", "/v2/{*image}"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, any(answer)));
    let logged = match access_log {
        Some(log) => routes.layer(middleware::from_fn_with_state(log, AccessLog::log_operator)),
        None => routes.layer(middleware::from_fn_with_state(Transfers::new(""), Transfers::log)),
    };
    logged.layer(middleware::map_request(without_address))
}

/// Removes the address that the listener gives every peer of a Unix socket.
async fn without_address(mut request: Request) -> Request {
    request.extensions_mut().remove::<ClientAddress>();
    request
}

async fn answer(
    State(operators): State<Operators>,
    Extension(Peer(user)): Extension<Peer>,
    mut request: Request,
) -> Response {
    // The external URL of the server does not lead here.
    request.extensions_mut().insert(Links::default());
    let registry = operators.operator(user).view();
    // A request that changes something continues if its connection ends, and is waited for at a shutdown.
    let mut service = registry.into_service(move |task| operators.run(task));
    let answered: Result<_, Infallible> = service.call(request).await;
    let Ok(response) = answered;
    response.map(Body::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config, Sources,
        clock::TrustedClock,
        control::{
            Access, Place,
            image_storage::ImageStorage,
            serve::{self, router},
            socket::ControlSocket,
        },
    };
    use async_trait::async_trait;
    use axum::body::Bytes;
    use futures_util::{TryStreamExt as _, stream};
    use registry_core::{
        Algorithm, Digest, Hooks, MediaType, Reference, Registry, RepositoryName, Tag,
        hooks::{Actor, Event, EventKind},
        maintenance::Collections,
        storage::{MemoryStorage, StoredManifest},
    };
    use registry_storage_fs::FsStorage;
    use std::{
        io,
        path::Path,
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        spawn,
        sync::oneshot,
        task::JoinHandle,
    };

    /// A directory, and a server that owns it. Its content is in its memory.
    struct Fixture {
        directory: tempfile::TempDir,
        serving: JoinHandle<()>,
        stop: oneshot::Sender<()>,
    }

    impl Fixture {
        /// Serves a registry that refuses every client.
        async fn start(registry: registry_core::service::Builder, log: Option<AccessLog>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let storage = FsStorage::open(directory.path()).unwrap();
            let socket = ControlSocket::bind(&storage, None).unwrap().unwrap();
            let clock = TrustedClock::start(&storage).await;
            let registry = registry.read_only().without_deletion().build();
            let operators = Operators::of(registry, log, Collections::default(), Duration::ZERO, clock);
            let (stop, stopped) = oneshot::channel::<()>();
            let drain = Duration::from_secs(3600);
            let serving = spawn(serve::serve(socket, operators, drain, async {
                _ = stopped.await;
            }));
            Self {
                directory,
                serving,
                stop,
            }
        }

        async fn storage(&self) -> ImageStorage {
            let told = |told| panic!("{told}");
            ImageStorage::of_server(self.directory.path(), told)
                .await
                .unwrap()
        }

        async fn connect(&self) -> io::Result<UnixStream> {
            let socket = self.directory.path().join("docker/registry/v2/_control/socket");
            UnixStream::connect(socket).await
        }
    }

    fn memory() -> registry_core::service::Builder {
        Registry::builder(MemoryStorage::new())
    }

    fn user() -> String {
        format!("operator:{}", rustix::process::geteuid().as_raw())
    }

    fn digest(content: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, content)
    }

    fn repository() -> RepositoryName {
        RepositoryName::parse("team/app").unwrap()
    }

    fn tag() -> Tag {
        Tag::parse("v1").unwrap()
    }

    async fn push_index(storage: &ImageStorage) -> Digest {
        let bytes =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        let digest = digest(bytes.as_bytes());
        let index = StoredManifest::new(digest, media_type, bytes.into());
        let target = storage.target(&repository());
        target.put_manifest(&index, &[tag()]).await.unwrap();
        digest
    }

    /// Keeps the users of the events.
    #[derive(Clone, Debug, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    #[async_trait]
    impl Hooks for Heard {
        fn event(&self, event: &Arc<Event>) {
            let what = match event.kind {
                EventKind::BlobPushed { .. } => "blob",
                EventKind::ManifestPushed { .. } => "manifest",
                _ => return,
            };
            let Actor::Known(who) = &event.context.actor else {
                panic!("{event:?}")
            };
            self.0.lock().unwrap().push(format!("{what} by {}", who.subject));
        }
    }

    #[tokio::test]
    async fn images_are_pushed_and_pulled_where_clients_may_not_and_hooks_see_the_operator() {
        let heard = Heard::default();
        let registry = memory().hooks(heard.clone());
        // Clients reach it there, but the command does not.
        let registry = registry.external_url("https://registry.example/images").unwrap();
        let fixture = Fixture::start(registry, None).await;
        let storage = fixture.storage().await;
        let (bytes, size) = (Bytes::from(vec![7; 3 << 20]), 3 << 20);
        let blob = digest(&bytes);

        let content = Box::pin(stream::iter([Ok(bytes.clone())]));
        let target = storage.target(&repository());
        target.put_blob(&blob, size, content).await.unwrap();
        let index = push_index(&storage).await;

        let source = storage.source(&repository());
        let pulled = source.blob(&blob, 0).await.unwrap().unwrap().stream;
        let pulled: Vec<Bytes> = pulled.try_collect().await.unwrap();
        assert!(pulled.concat() == bytes);
        let found = source.resolve(&Reference::Tag(tag())).await.unwrap().unwrap();
        assert_eq!(found.digest, index);
        assert_eq!(storage.repositories().await.unwrap(), [repository()]);
        let user = user();
        let expected = [format!("blob by {user}"), format!("manifest by {user}")];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }

    /// Output of an access log.
    struct Written(mpsc::Sender<String>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.0.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_access_log_shows_the_requests_of_the_operator() {
        let (written, lines) = mpsc::channel();
        let (log, writer) = AccessLog::start(Written(written)).unwrap();
        let fixture = Fixture::start(memory(), Some(log)).await;
        push_index(&fixture.storage().await).await;

        drop(fixture.stop);
        fixture.serving.await.unwrap();
        writer.finish();

        let lines: String = lines.iter().collect();
        let expected = format!("- - {} [", user());
        let line = lines.lines().find(|line| line.contains("\"PUT ")).unwrap();
        assert!(line.starts_with(&expected), "{line}");
        assert!(
            line.contains("\"PUT /v2/team/app/manifests/v1 control\" 201 "),
            "{line}"
        );
    }

    #[tokio::test]
    async fn a_shutdown_waits_for_the_request_that_runs() {
        let mut fixture = Fixture::start(memory(), None).await;
        let bytes = [7; 1000];
        let mut stream = fixture.connect().await.unwrap();
        let head = format!(
            "POST /v2/team/app/blobs/uploads/?digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
             Expect: 100-continue\r\n\r\n",
            digest(&bytes)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = [0; 25];
        // The server reads the body now.
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"HTTP/1.1 100 Continue\r\n\r\n");

        fixture.stop = oneshot::channel().0;
        // It has stopped when it accepts no more.
        while fixture.connect().await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream.write_all(&bytes).await.unwrap();

        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        fixture.serving.await.unwrap();
    }

    /// Chooses a directory as a command does.
    fn place(root: &Path) -> Place {
        let root = root.to_str().unwrap().to_owned();
        let sources = Sources::new().set("storage.filesystem.rootdirectory", "--root", root);
        Place::of(Config::load(sources).unwrap().settings).unwrap()
    }

    #[tokio::test]
    async fn a_server_without_images_on_its_socket_is_named_and_read_beside() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(directory.path()).unwrap();
        let clock = TrustedClock::start(&storage).await;
        let registry = Registry::builder(storage.clone()).build();
        let name = repository();
        let stored = registry.repository(&name).unwrap();
        stored.push_blob("content", None).await.unwrap();
        let operators = Operators::of(registry, None, Collections::default(), Duration::ZERO, clock);
        let old = router().with_state(operators.clone());
        let listening = ControlSocket::bind(&storage, None).unwrap().unwrap();
        let serving = serve::serve_app(listening, old, operators, Duration::ZERO, std::future::pending());
        spawn(serving);

        let place = place(directory.path());
        let refused = place.images(Access::Own, |_| {}).await.unwrap_err();
        let read = place.images(Access::Read, |_| {}).await.unwrap();

        let error = refused.to_string();
        let expected = "the running server does not have this command; restart it";
        assert!(error.starts_with(expected), "{error}");
        assert!(!refused.is_transient);
        let source = read.source(&name);
        let blob = source.blob(&digest(b"content"), 0).await.unwrap();
        assert_eq!(blob.unwrap().size, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_without_a_socket_is_a_failure_for_now() {
        let directory = tempfile::tempdir().unwrap();
        let _owner = FsStorage::open(directory.path()).unwrap();

        let refused = place(directory.path()).images(Access::Own, |_| {}).await;

        let error = refused.unwrap_err();
        assert!(error.is_transient, "{error}");
        assert!(error.to_string().contains("in use by process"), "{error}");
    }
}
