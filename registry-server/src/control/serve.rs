//! Serves operations on the control socket.

use super::{
    collection::Collect,
    hold::Hold,
    images,
    line::{Line, PATH, WAITING},
    listings::{ListRepositories, ListTags},
    lost::ListLost,
    operation::{self, Operation},
    operators::{Operators, Stop},
    quarantine::{ListQuarantined, RemoveQuarantined},
    removal::{PreviewRemoval, Remove},
    retention::ApplyRules,
    socket::{ControlSocket, Peer, Peers},
    undo::{ListDeleted, ListHistory, UndoDeletion, UndoDeletions},
    uploads::{EndUpload, ListUploads},
    usage::Measure,
    verification::Verify,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body::Frame;
use registry_listener::{Server, Timeouts};
use serde::Serialize;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc::{Receiver, channel};

/// Serves operations and the registry on a socket, until a future ends. Then the operations end at their next item, and the
/// requests of the registry have the time `drain` to end.
pub(crate) async fn serve(
    socket: ControlSocket,
    operators: Operators,
    drain: Duration,
    until: impl Future<Output = ()> + Send + 'static,
) {
    let app = router().merge(images::routes(operators.access_log()));
    let app = app.with_state(operators.clone());
    serve_app(socket, app, operators, drain, until).await;
}

pub(super) async fn serve_app(
    socket: ControlSocket,
    app: Router,
    operators: Operators,
    drain: Duration,
    until: impl Future<Output = ()> + Send + 'static,
) {
    let mut timeouts = Timeouts::default();
    timeouts.drain = drain;
    // An operator who reads page by page keeps the command waiting, and an import may wait for its source.
    timeouts.body_idle = Duration::MAX;
    timeouts.first_write_timeout = Duration::MAX;
    let stopping = operators.clone();
    Server::new(app)
        .timeouts(timeouts)
        .handshake(Peers::of_this_process())
        .until(async move {
            until.await;
            stopping.stop();
        })
        .serve(socket)
        .await;
    operators.ended().await;
}

pub(super) fn router() -> Router<Operators> {
    let router = with::<ListRepositories>(Router::new());
    let router = with::<ListTags>(router);
    let router = with::<PreviewRemoval>(router);
    let router = with::<Remove>(router);
    let router = with::<ListLost>(router);
    let router = with::<ListQuarantined>(router);
    let router = with::<RemoveQuarantined>(router);
    let router = with::<ListUploads>(router);
    let router = with::<EndUpload>(router);
    let router = with::<Measure>(router);
    let router = with::<ListHistory>(router);
    let router = with::<ListDeleted>(router);
    let router = with::<UndoDeletion>(router);
    let router = with::<UndoDeletions>(router);
    let router = with::<Collect>(router);
    let router = with::<Hold>(router);
    let router = with::<ApplyRules>(router);
    with::<Verify>(router)
}

/// Adds an operation.
fn with<O: Operation>(router: Router<Operators>) -> Router<Operators> {
    router.route(&format!("{PATH}{}", O::NAME), post(answer::<O>))
}

async fn answer<O: Operation>(
    State(operators): State<Operators>,
    Extension(Peer(user)): Extension<Peer>,
    body: Bytes,
) -> Response {
    match serde_json::from_slice::<O>(&body) {
        Ok(operation) => start(&operators, operation, user),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Starts an operation, and returns a response with its items.
fn start<O: Operation>(operators: &Operators, operation: O, user: u32) -> Response {
    let arguments = serde_json::to_string(&operation).unwrap_or_default();
    tracing::info!(user, command = O::NAME, arguments, "an operator runs a command");
    let (lines, waiting) = channel(WAITING);
    operators.run(operation::run(operation, operators.operator(user), lines));
    let headers = [(header::CONTENT_TYPE, "application/jsonl")];
    let lines = Lines {
        waiting,
        stop: Some(operators.stopping()),
    };
    (headers, Body::new(lines)).into_response()
}

/// Response body with a line for each item. It breaks off when the server stops.
struct Lines<T> {
    waiting: Receiver<Line<T>>,
    /// Ends when the server stops; `None` afterwards.
    stop: Option<Stop>,
}

/// The server stops.
#[derive(Debug, thiserror::Error)]
#[error("the server stops")]
struct Stopping;

impl<T: Serialize> http_body::Body for Lines<T> {
    type Data = Bytes;
    type Error = Stopping;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopping>>> {
        if let Some(stop) = &mut self.stop
            && stop.as_mut().poll(context).is_ready()
        {
            self.stop = None;
            self.waiting.close();
            return Poll::Ready(Some(Err(Stopping)));
        }
        self.waiting.poll_recv(context).map(|line| {
            let line = line?;
            let mut text = serde_json::to_vec(&line).unwrap_or_default();
            text.push(b'\n');
            Some(Ok(Frame::data(text.into())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config, Sources,
        clock::TrustedClock,
        control::{
            Place,
            operation::{Access, BoxError, Items, Operator},
        },
    };
    use registry_core::{Registry, maintenance::Collections, storage::MemoryStorage};
    use registry_storage_fs::FsStorage;
    use serde::Deserialize;
    use std::path::Path;
    use tokio::{
        net::UnixStream,
        sync::oneshot,
        task::{JoinHandle, spawn},
        time::timeout,
    };

    /// Operation that counts until nobody listens.
    #[derive(Debug, Deserialize, Serialize)]
    struct Count {
        changes: bool,
    }

    impl Operation for Count {
        const NAME: &'static str = "count";
        type Item = u64;

        fn access(&self) -> Access {
            if self.changes { Access::Own } else { Access::Read }
        }

        async fn run(self, _: Operator, items: Items<u64>) -> Result<(), BoxError> {
            for number in 0.. {
                items.send(number).await?;
            }
            Ok(())
        }
    }

    /// A directory, and a server that owns it. What operators see is in its memory, to tell it from the directory.
    struct Fixture {
        directory: tempfile::TempDir,
        operators: Operators,
        serving: JoinHandle<()>,
        stop: oneshot::Sender<()>,
    }

    impl Fixture {
        async fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let storage = FsStorage::open(directory.path()).unwrap();
            push(storage.clone(), "of/directory").await;
            let memory = MemoryStorage::new();
            push(memory.clone(), "of/server").await;
            let clock = TrustedClock::start(&storage).await;
            let registry = Registry::builder(memory).build();
            let operators = Operators::of(registry, None, Collections::default(), Duration::ZERO, clock);
            let socket = ControlSocket::bind(&storage, None).unwrap().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let app = with::<Count>(router()).merge(images::routes(operators.access_log()));
            let app = app.with_state(operators.clone());
            // An operation does not use this time.
            let drain = Duration::from_secs(3600);
            let serving = spawn(serve_app(socket, app, operators.clone(), drain, async {
                _ = stopped.await;
            }));
            Self {
                directory,
                operators,
                serving,
                stop,
            }
        }

        async fn end(self) -> tempfile::TempDir {
            drop(self.stop);
            self.serving.await.unwrap();
            self.directory
        }
    }

    async fn push(storage: impl registry_core::Storage, repository: &str) {
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let tag = registry_core::Tag::parse("v1").unwrap();
        let push = registry_core::service::ManifestPush::new(tag, index);
        let registry = Registry::builder(storage).build();
        registry
            .repository(repository)
            .unwrap()
            .put_manifest(push)
            .await
            .unwrap();
    }

    fn place(root: &Path) -> Result<Place, String> {
        let root = root.to_str().unwrap().to_owned();
        let sources = Sources::new().set("storage.filesystem.rootdirectory", "--root", root);
        Place::of(Config::load(sources).unwrap().settings)
    }

    async fn repositories(root: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let operation = ListRepositories { long: false };
        let mut place = place(root).unwrap();
        let run = place.run(
            operation,
            |_| panic!("it waits"),
            |item| {
                names.push(item.repository);
                Ok(())
            },
        );
        run.await.unwrap();
        names
    }

    #[tokio::test]
    async fn a_command_runs_on_the_server_and_without_one_on_the_directory() {
        let fixture = Fixture::start().await;
        assert_eq!(repositories(fixture.directory.path()).await, ["of/server"]);

        let directory = fixture.end().await;

        assert_eq!(repositories(directory.path()).await, ["of/directory"]);
    }

    #[tokio::test]
    async fn an_interrupted_command_ends_on_the_server() {
        let fixture = Fixture::start().await;
        let mut place = place(fixture.directory.path()).unwrap();

        let interrupted = place.run(
            Count { changes: true },
            |_| {},
            |number| match number {
                1000 => Err("enough".into()),
                _ => Ok(()),
            },
        );
        let error = interrupted.await.unwrap_err();

        assert_eq!(error.to_string(), "enough");
        timeout(Duration::from_secs(60), fixture.operators.ended())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_its_commands_and_they_say_so() {
        let fixture = Fixture::start().await;
        let root = fixture.directory.path().to_path_buf();
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let command = spawn(async move {
            let mut place = place(&root).unwrap();
            let each = |_| {
                if let Some(tell) = tell.take() {
                    tell.send(()).unwrap();
                }
                Ok(())
            };
            place
                .run(Count { changes: true }, |_| {}, each)
                .await
                .unwrap_err()
                .to_string()
        });
        told.await.unwrap();

        fixture.end().await;

        let error = command.await.unwrap();
        assert!(error.contains("the server"), "{error}");
    }

    #[tokio::test]
    async fn a_server_without_the_command_is_named() {
        #[derive(Debug, Deserialize, Serialize)]
        struct Newer;

        impl Operation for Newer {
            const NAME: &'static str = "newer";
            type Item = u64;

            fn access(&self) -> Access {
                Access::Own
            }

            async fn run(self, _: Operator, _: Items<u64>) -> Result<(), BoxError> {
                Ok(())
            }
        }
        let fixture = Fixture::start().await;

        let refused = place(fixture.directory.path())
            .unwrap()
            .run(Newer, |_| {}, |_| Ok(()))
            .await;

        let error = refused.unwrap_err().to_string();
        assert!(
            error.starts_with("the running server does not have this command"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_an_owner_without_a_socket_and_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let _owner = FsStorage::open(directory.path()).unwrap();
        let mut place = place(directory.path()).unwrap();
        let mut waits = String::new();

        let refused = place
            .run(Count { changes: true }, |told| waits = told, |_| Ok(()))
            .await;

        let named = format!("in use by process {}", std::process::id());
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(&named), "{error}");
        assert!(
            waits.starts_with("waiting up to 30 s") && waits.contains(&named),
            "{waits}"
        );
        // Who only reads does not wait.
        assert!(repositories(directory.path()).await.is_empty());
    }

    #[tokio::test]
    async fn a_directory_that_holds_no_registry_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();

        let refused = place(directory.path()).unwrap_err();

        assert!(refused.contains("holds no registry"), "{refused}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_request_that_is_no_command_is_refused() {
        let fixture = Fixture::start().await;
        let socket = fixture
            .directory
            .path()
            .join("docker/registry/v2/_control/socket");
        for (request, status) in [
            ("GET /control/v1/tags", "405"),
            ("POST /control/v1/tags", "400"),
            ("POST /control/v2/tags", "404"),
            ("GET /v2/", "200"),
        ] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            let head =
                format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]");
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
                .await
                .unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
                .await
                .unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {answer}"
            );
        }
    }
}
