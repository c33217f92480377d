//! Tests of the service for servers: operations that outlive their clients, and tasks that end early.

use crate::{digest, every_request, filled, logging::Unreadable, manifest};
use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use registry_core::{
    Hooks, Registry,
    hooks::{Context, HookError},
    manifest::Manifest,
    service::{FileSender, RegistryService, Task},
    storage::{Content, FileRange, MemoryStorage, PutManifest},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tower_service::Service as _;

type Body = Full<bytes::Bytes>;

async fn registry() -> Registry {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    Registry::builder(storage).allow_anonymous_push().build()
}

fn spawned(registry: Registry) -> RegistryService<Body> {
    registry.into_service(|task| {
        tokio::spawn(task);
    })
}

fn put(tag: &str) -> Request<Body> {
    let request = Request::put(format!("/v2/team/app/manifests/{tag}"));
    request.body(Full::new(manifest("hosted"))).unwrap()
}

#[tokio::test]
async fn an_operation_whose_response_is_dropped_is_completed() {
    let registry = registry().await;
    let mut service = spawned(registry.clone());

    // Servers drop the future when the client has left.
    drop(service.call(put("v2")));

    let repository = registry.repository("team/app").unwrap();
    while repository.manifest("v2").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whatever_may_change_something_is_a_task_and_no_read_is() {
    let registry = registry().await;
    for (method, target) in every_request() {
        let tasks = Arc::new(AtomicUsize::new(0));
        let spawning = Arc::clone(&tasks);
        let mut service = registry.clone().into_service(move |task| {
            spawning.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(task);
        });
        let request = Request::builder().method(method.clone()).uri(&target);

        service
            .call(request.body(Body::default()).unwrap())
            .await
            .unwrap();

        let reads = [Method::GET, Method::HEAD].contains(&method);
        let expected = usize::from(!reads);
        assert_eq!(tasks.load(Ordering::Relaxed), expected, "{method} {target}");
    }
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl Hooks for Panics {
    async fn before_put_manifest(&self, _: &Context, _: &Manifest, _: &PutManifest) -> Result<(), HookError> {
        panic!("a hook of the host has a fault")
    }
}

#[tokio::test]
async fn a_task_that_ends_without_an_answer_is_a_failure_of_the_registry() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let panicking = Registry::builder(storage.clone())
        .hooks(Panics)
        .allow_anonymous_push();
    let dropping = Registry::builder(storage).allow_anonymous_push();
    let spawn = |task: Task| {
        tokio::spawn(task);
    };
    for mut service in [
        panicking.build().into_service::<Body>(spawn),
        dropping.build().into_service(drop),
    ] {
        let response = service.call(put("v2")).await.unwrap();

        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(br#"{"errors":[{"code":"UNKNOWN""#), "{body:?}");
    }
}

/// The storage offers an open file, and a stream of the same content that breaks off.
#[tokio::test]
async fn a_listener_that_sends_files_receives_its_own_frames_for_each_file_that_it_accepts() {
    for (accepts, expected) in [(true, Some("bytes")), (false, None)] {
        let mut service = spawned(Registry::builder(Unreadable { from: 1 }).build());
        let sender = FileSender::new(move |file: &FileRange| {
            assert_eq!(file.range, 0..5);
            accepts.then(|| Content::bytes("bytes".into()).into_stream())
        });
        let request = Request::get(format!("/v2/team/app/blobs/{}", digest())).extension(sender);

        let response = service
            .call(request.body(Body::default()).unwrap())
            .await
            .unwrap();

        assert_eq!(response.body().file().is_none(), accepts);
        let body = response.into_body().collect().await.ok();
        assert_eq!(
            body.map(|body| body.to_bytes()).as_deref(),
            expected.map(str::as_bytes)
        );
    }
}
