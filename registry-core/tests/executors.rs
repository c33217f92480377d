//! The core under other executors than tokio: on a thread that blocks, and on threads of smol's executor.
//!
//! Each host pushes over HTTP and in process, reads, collects and runs the upkeep. No runtime is entered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_executor::Executor;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, Digest, Registry, RepositoryName, Tag,
    maintenance::{Clock, CollectOptions},
    service::{ManifestPush, RegistryService, ResponseBody, Task},
    storage::MemoryStorage,
};
use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, SystemTime},
};
use tower_service::Service as _;

/// Body whose frames come later: another thread wakes the task for each of them.
struct Slow(Vec<Bytes>, bool);

impl Slow {
    fn of(bytes: &str) -> Self {
        let frames = bytes.as_bytes().chunks(7).rev();
        Self(frames.map(Bytes::copy_from_slice).collect(), false)
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Clock of a host, far ahead, whose waits have no end.
struct Ahead {
    waits: AtomicBool,
}

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 36)
    }

    async fn sleep(&self, _: Duration) {
        self.waits.store(true, Ordering::Relaxed);
        pending().await
    }
}

fn spawned_on(spawn: impl Fn(Task) + Send + Sync + 'static, registry: &Registry) -> RegistryService<Slow> {
    registry.clone().into_service(spawn)
}

async fn call(
    service: &mut RegistryService<Slow>,
    request: http::request::Builder,
    body: &str,
) -> Response<Bytes> {
    let answer = service.call(request.body(Slow::of(body)).unwrap()).await.unwrap();
    let (head, body): (_, ResponseBody) = answer.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Pushes an image over HTTP, and reads it over HTTP and in process.
async fn push_and_pull(registry: &Registry, service: &mut RegistryService<Slow>, name: &RepositoryName) {
    let layer = "a layer of some frames";
    let digest = Digest::of(Algorithm::Sha256, layer.as_bytes());
    let opened = call(service, Request::post(format!("/v2/{name}/blobs/uploads/")), "").await;
    assert_eq!(opened.status(), StatusCode::ACCEPTED);
    let location = opened
        .headers()
        .get(header::LOCATION)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let appended = call(service, Request::patch(&location), layer).await;
    assert_eq!(appended.status(), StatusCode::ACCEPTED);
    let closed = call(service, Request::put(format!("{location}?digest={digest}")), "").await;
    assert_eq!(closed.status(), StatusCode::CREATED);

    let repository = registry.repository(name).unwrap();
    let config = repository.push_blob("{}", None).await.unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{}}}]}}"#,
        config.digest,
        layer.len(),
    );
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), manifest.clone());
    repository.put_manifest(push).await.unwrap();

    let pulled = call(service, Request::get(format!("/v2/{name}/manifests/v1")), "").await;
    assert_eq!(pulled.body(), &manifest);
    let pulled = call(service, Request::get(format!("/v2/{name}/blobs/{digest}")), "").await;
    assert_eq!(pulled.body(), layer);
    assert_eq!(repository.read_blob(&digest, 100).await.unwrap().unwrap(), layer);
}

/// Removes what nothing refers to, and ends what clients have abandoned.
async fn maintain(registry: &Registry) {
    let repository = registry.repository("team/left").unwrap();
    let blob = repository.push_blob("no manifest names it", None).await.unwrap();
    let session = repository.open_upload(Algorithm::Sha256).await.unwrap();
    let clock = Ahead {
        waits: AtomicBool::new(false),
    };

    let upkeep = registry.upkeep();
    let mut running = pin!(upkeep.run(&clock));
    poll_fn(|context| {
        let Poll::Pending = running.as_mut().poll(context);
        if clock.waits.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    assert!(repository.upload(&session.id).await.unwrap().is_none());

    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO);
    registry.collect(&options, &clock, &|_| {}).await.unwrap();
    assert!(repository.blob(&blob.digest).await.unwrap().is_none());
}

fn registry() -> Registry {
    Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build()
}

#[test]
fn a_host_needs_no_executor_but_a_thread_that_blocks() {
    let worked = thread::spawn(|| {
        let registry = registry();
        let mut service = spawned_on(
            |task| {
                thread::spawn(|| pollster::block_on(task));
            },
            &registry,
        );
        let name = RepositoryName::parse("team/app").unwrap();
        pollster::block_on(async {
            push_and_pull(&registry, &mut service, &name).await;
            maintain(&registry).await;
        });
        tokio::runtime::Handle::try_current().is_err()
    });

    assert!(worked.join().unwrap(), "a runtime of tokio was entered");
}

#[test]
fn clients_of_a_host_on_smols_executor_work_at_the_same_time() {
    let executor = Arc::new(Executor::new());
    let registry = registry();
    let mut clients: Vec<_> = (0..8)
        .map(|number| {
            let (registry, spawner) = (registry.clone(), Arc::clone(&executor));
            executor.spawn(async move {
                let mut service = spawned_on(move |task| spawner.spawn(task).detach(), &registry);
                let name = RepositoryName::parse(&format!("team/app{number}")).unwrap();
                push_and_pull(&registry, &mut service, &name).await;
                assert!(tokio::runtime::Handle::try_current().is_err());
            })
        })
        .collect();
    let others = clients.split_off(4);
    let executor = &executor;

    // Each thread runs the tasks of all clients until its own have ended.
    thread::scope(|scope| {
        for own in [clients, others] {
            scope.spawn(move || {
                pollster::block_on(executor.run(async {
                    for client in own {
                        client.await;
                    }
                }));
            });
        }
    });

    pollster::block_on(maintain(&registry));
}
