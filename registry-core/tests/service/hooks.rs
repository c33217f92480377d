//! Tests of what hooks are asked and told, and of their refusals.

use crate::{ByHeader, IMAGE, digest, filled, manifest, push, send};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, BoxError, Digest, ErrorCode, Hooks, Identity, MediaType, Reference, Registry, Tag,
    auth::ClientAddress,
    hooks::{Actor, Appending, Context, Event, EventKind, HookError, RequestId, Target},
    manifest::Manifest,
    service::{BlobSource, ManifestPush},
    storage::{MemoryStorage, PutManifest, ReadBlob},
};
use std::{
    future::Future as _,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{self, Poll, Waker},
    time::Duration,
};

/// Records questions and events, each with its context, and refuses one kind of question.
#[derive(Clone, Debug, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<(Context, String)>>>,
    refuse: Option<&'static str>,
}

impl Recorder {
    fn refusing(what: &'static str) -> Self {
        Self {
            refuse: Some(what),
            ..Self::default()
        }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Context, String)>> {
        self.seen.lock().unwrap()
    }

    /// Returns what was recorded since the last call.
    fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen());
        seen.into_iter().map(|(_, what)| what).collect()
    }

    /// Returns the events that were recorded since the last call.
    fn take_events(&self) -> Vec<String> {
        let mut all = self.take();
        all.retain(|what| !what.ends_with('?'));
        all
    }

    fn asked(&self, context: &Context, kind: &'static str, details: &str) -> Result<(), HookError> {
        self.seen().push((context.clone(), format!("{kind}{details}?")));
        match self.refuse {
            Some(refused) if refused == kind => Err(HookError::veto(format!("no {kind} on Fridays"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hooks for Recorder {
    async fn before_open_upload(&self, context: &Context, announced: Option<u64>) -> Result<(), HookError> {
        self.asked(context, "open", &format!(" {announced:?}"))
    }

    async fn before_append(&self, context: &Context, appending: &Appending) -> Result<(), HookError> {
        let Appending { held, announced, .. } = appending;
        self.asked(context, "append", &format!(" {announced:?} to {held}"))
    }

    async fn before_add_blob(&self, context: &Context, digest: &Digest, size: u64) -> Result<(), HookError> {
        let short: String = digest.hex().chars().take(4).collect();
        self.asked(context, "blob", &format!(" {short} of {size}"))
    }

    async fn before_put_manifest(
        &self,
        context: &Context,
        manifest: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        let config = manifest.blobs()[0].media_type.as_ref().map(MediaType::as_str);
        assert_eq!(config, Some("application/vnd.oci.empty.v1+json"));
        self.asked(context, "manifest", &format!(" of {}", put.manifest.size()))
    }

    async fn before_delete(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        self.asked(context, "delete", &shown(target))
    }

    async fn before_pull(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        self.asked(context, "pull", &shown(target))
    }

    fn event(&self, event: &Arc<Event>) {
        let what = match &event.kind {
            EventKind::ManifestPushed {
                tags, created, size, ..
            } => {
                let tags: Vec<String> = tags
                    .iter()
                    .map(|moved| format!("{} after {}", moved.tag, moved.previous.is_some()))
                    .collect();
                format!("manifest of {size} pushed, new: {created}, {}", tags.join(","))
            }
            EventKind::ManifestPulled { reference, size, .. } => {
                format!("manifest of {size} pulled by {}", kind_of(reference))
            }
            EventKind::ManifestDeleted { tags, size, .. } => {
                format!("manifest of {size:?} deleted with {tags:?}")
            }
            EventKind::TagDeleted { tag, .. } => format!("{tag} deleted"),
            EventKind::BlobPushed {
                size, created: true, ..
            } => format!("blob of {size} pushed"),
            EventKind::BlobPushed { size, .. } => format!("held blob of {size} pushed"),
            EventKind::BlobMounted {
                from, size, created, ..
            } => {
                format!("blob of {size} mounted from {from}, new: {created}")
            }
            EventKind::BlobPulled { size, bytes, .. } => format!("{bytes} of {size} bytes pulled"),
            EventKind::BlobDeleted { size, .. } => format!("blob of {size:?} deleted"),
            EventKind::UploadOpened { .. } => "upload opened".into(),
            EventKind::UploadAppended { size, bytes, .. } => format!("{bytes} appended, now {size}"),
            EventKind::UploadEnded { size, .. } => format!("upload of {size} ended"),
            EventKind::UploadAbandoned { size, .. } => format!("upload of {size:?} abandoned"),
            EventKind::Abandoned => "abandoned".into(),
            other => unreachable!("{other:?}"),
        };
        self.seen().push((event.context.clone(), what));
    }
}

/// Body of frames, from the last one on. It announces no size, and may never end.
struct Frames {
    frames: Vec<&'static str>,
    ends: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop() {
            None if !self.ends => Poll::Pending,
            frame => Poll::Ready(frame.map(|text| Ok(Frame::data(text.into())))),
        }
    }
}

fn shown(target: &Target) -> String {
    match target {
        Target::Blob { size, .. } => format!(" blob of {size:?}"),
        Target::Manifest { size, .. } => format!(" manifest of {size:?}"),
        Target::Tag {
            tag, digest, size, ..
        } => format!(" {tag} at {} of {size:?}", digest.is_some()),
        other => unreachable!("{other:?}"),
    }
}

fn kind_of(reference: &Reference) -> &'static str {
    match reference {
        Reference::Tag(_) => "tag",
        Reference::Digest(_) => "digest",
    }
}

fn tag(text: &str) -> Reference {
    Tag::parse(text).unwrap().into()
}

/// Returns a registry with these hooks and `app` in it: the blob `{}`, and a manifest under `v1`.
async fn hooked(hooks: &Recorder) -> Registry {
    let storage = MemoryStorage::new();
    filled(&storage, &["app"]).await;
    Registry::builder(storage)
        .hooks(hooks.clone())
        .allow_anonymous_push()
        .build()
}

/// Opens a session over HTTP, and returns its target.
async fn opened(registry: &Registry) -> String {
    let opened = send(registry, None, Method::POST, "/v2/app/blobs/uploads/", "").await;
    opened.headers[header::LOCATION].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn hooks_are_told_what_happened_and_how_much_of_it() {
    let hooks = Recorder::default();
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(hooks.clone())
        .build();
    let app = registry.repository("app").unwrap();
    let (first, second) = (manifest("first").len(), manifest("second").len());

    app.push_blob("{}", None).await.unwrap();
    let pushed = app.put_manifest(push("v1", "first")).await.unwrap();
    app.put_manifest(push("v1", "second")).await.unwrap();
    app.put_manifest(push("v1", "second")).await.unwrap();
    app.delete_manifest(tag("v1")).await.unwrap();
    app.delete_manifest(pushed.digest).await.unwrap();
    let other = registry.repository("other").unwrap();
    other.mount(&digest(), None).await.unwrap();
    app.delete_blob(&digest()).await.unwrap();

    assert_eq!(
        hooks.take_events(),
        [
            "upload opened".to_owned(),
            "upload of 2 ended".into(),
            "blob of 2 pushed".into(),
            format!("manifest of {first} pushed, new: true, v1 after false"),
            format!("manifest of {second} pushed, new: true, v1 after true"),
            format!("manifest of {second} pushed, new: false, v1 after true"),
            "v1 deleted".into(),
            format!("manifest of Some({first}) deleted with []"),
            "blob of 2 mounted from app, new: true".into(),
            "blob of Some(2) deleted".into(),
        ]
    );
}

#[tokio::test]
async fn an_upload_is_followed_from_its_opening_to_its_end() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let blob = Digest::of(Algorithm::Sha256, b"12345678");

    let session = opened(&registry).await;
    send(&registry, None, Method::PATCH, &session, "12345").await;
    let closing = format!("{session}?digest={blob}");
    let closed = send(&registry, None, Method::PUT, &closing, "678").await;

    assert_eq!(closed.status, StatusCode::CREATED);
    assert_eq!(
        hooks.take(),
        [
            "open None?",
            "upload opened",
            "append Some(5) to 0?",
            "5 appended, now 5",
            "append Some(3) to 5?",
            "3 appended, now 8",
            "blob ef79 of 8?",
            "upload of 8 ended",
            "blob of 8 pushed",
        ]
    );
    let again = send(&registry, None, Method::PUT, &closing, "").await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert!(hooks.take().is_empty(), "a repeated close adds nothing");
}

#[tokio::test]
async fn hooks_hear_that_an_upload_was_abandoned() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;

    let session = opened(&registry).await;
    send(&registry, None, Method::PATCH, &session, "12345").await;
    hooks.take();
    send(&registry, None, Method::DELETE, &session, "").await;
    assert_eq!(hooks.take(), ["upload of Some(5) abandoned"]);
    send(&registry, None, Method::DELETE, &session, "").await;
    assert!(hooks.take().is_empty(), "a session ends once");

    let session = opened(&registry).await;
    hooks.take();
    let closing = format!("{session}?digest={}", digest());
    let refused = send(&registry, None, Method::PUT, &closing, "other").await;
    assert_eq!(refused.code(), "DIGEST_INVALID");
    assert_eq!(
        hooks.take_events(),
        ["5 appended, now 5", "upload of Some(5) abandoned", "abandoned"]
    );

    let app = registry.repository("app").unwrap();
    let refused = app.push_blob("other", Some(digest())).await;
    assert!(refused.is_err());
    assert_eq!(
        hooks.take_events(),
        ["upload opened", "upload of None abandoned", "abandoned"]
    );
}

#[tokio::test]
async fn a_blob_is_announced_with_its_exact_size_however_it_is_pushed() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();

    // Neither its digest nor its size is known before all of it has arrived.
    let body = Frames {
        frames: vec!["45678", "123"],
        ends: true,
    };
    app.push_blob(BlobSource::body(body), None).await.unwrap();

    assert_eq!(
        hooks.take(),
        [
            "open None?",
            "upload opened",
            "append None to 0?",
            "blob ef79 of 8?",
            "upload of 8 ended",
            "blob of 8 pushed",
        ]
    );
    let target = format!("/v2/app/blobs/uploads/?digest={}", digest());
    send(&registry, None, Method::POST, &target, "{}").await;
    assert_eq!(
        hooks.take(),
        [
            "open Some(2)?",
            "upload opened",
            "append Some(2) to 0?",
            "blob 4413 of 2?",
            "upload of 2 ended",
            "held blob of 2 pushed",
        ]
    );
    let target = format!("/v2/other/blobs/uploads/?mount={}&from=app", digest());
    for created in [true, false] {
        send(&registry, None, Method::POST, &target, "").await;
        assert_eq!(
            hooks.take(),
            [
                "blob 4413 of 2?".to_owned(),
                format!("blob of 2 mounted from app, new: {created}"),
            ]
        );
    }
}

#[tokio::test]
async fn reads_in_process_tell_what_reads_over_http_tell() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();
    let size = manifest("first").len();
    let blob = format!("/v2/app/blobs/{}", digest());

    send(&registry, None, Method::GET, "/v2/app/manifests/v1", "").await;
    let over_http = hooks.take();
    app.manifest(tag("v1")).await.unwrap().unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(
        over_http,
        [
            format!("pull v1 at true of Some({size})?"),
            format!("manifest of {size} pulled by tag"),
        ]
    );

    send(&registry, None, Method::GET, &blob, "").await;
    let over_http = hooks.take();
    app.open_blob(&digest(), ReadBlob::default()).await.unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(over_http, ["pull blob of Some(2)?", "2 of 2 bytes pulled"]);

    send(&registry, None, Method::HEAD, &blob, "").await;
    let over_http = hooks.take();
    app.blob(&digest()).await.unwrap().unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(over_http, ["pull blob of Some(2)?"], "nothing is pulled");

    send(&registry, None, Method::HEAD, "/v2/app/manifests/v1", "").await;
    assert_eq!(hooks.take(), [format!("pull v1 at true of Some({size})?")]);

    let absent = Digest::of(Algorithm::Sha256, b"absent");
    assert!(app.blob(&absent).await.unwrap().is_none());
    assert!(app.manifest(absent).await.unwrap().is_none());
    assert!(hooks.take().is_empty(), "what is not there is not pulled");
}

#[tokio::test]
async fn each_read_is_asked_about_once_whatever_its_ranges() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();
    let blob = app.push_blob("0123456789", None).await.unwrap();
    hooks.take();
    for (ranges, bytes) in [
        ("0-3", 4),
        ("0-1,5-9", 7),
        ("0-1,90-", 2),
        ("0-9,0-9", 10),
        ("0-1,1-1,2-2", 4),
    ] {
        let request = Request::get(format!("/v2/app/blobs/{}", blob.digest))
            .header(header::RANGE, format!("bytes={ranges}"))
            .body(String::new());
        let answer = registry.handle(request.unwrap()).await;
        assert!(answer.status().is_success(), "{ranges}");

        assert_eq!(
            hooks.take(),
            [
                "pull blob of Some(10)?".to_owned(),
                format!("{bytes} of 10 bytes pulled"),
            ],
            "{ranges}"
        );
    }
    let request = Request::get(format!("/v2/app/blobs/{}", blob.digest))
        .header(header::RANGE, "bytes=10-,20-")
        .body(String::new());
    let answer = registry.handle(request.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(hooks.take().is_empty());
}

#[tokio::test]
async fn a_veto_is_read_by_the_client_and_leaves_nothing() {
    let blob = Digest::of(Algorithm::Sha256, b"new");
    let whole = format!("/v2/app/blobs/uploads/?digest={blob}");
    let second = String::from_utf8(manifest("second").to_vec()).unwrap();
    let held = format!("/v2/app/blobs/{}", digest());
    let mount = format!("/v2/other/blobs/uploads/?mount={}&from=app", digest());
    for (refused, method, target, body) in [
        ("open", Method::POST, "/v2/app/blobs/uploads/", ""),
        ("open", Method::POST, &whole, "new"),
        ("append", Method::POST, &whole, "new"),
        ("blob", Method::POST, &whole, "new"),
        ("blob", Method::POST, &mount, ""),
        ("manifest", Method::PUT, "/v2/app/manifests/v2", &second),
        ("delete", Method::DELETE, "/v2/app/manifests/v1", ""),
        ("delete", Method::DELETE, &held, ""),
        ("pull", Method::GET, "/v2/app/manifests/v1", ""),
        ("pull", Method::GET, &held, ""),
    ] {
        let hooks = Recorder::refusing(refused);
        let registry = hooked(&hooks).await;

        let answer = send(&registry, None, method, target, body).await;

        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::FORBIDDEN, "DENIED"),
            "{refused} {target}"
        );
        assert_eq!(answer.message(), format!("no {refused} on Fridays"));
        let events = hooks.take_events();
        assert!(
            events
                .iter()
                .all(|event| event.starts_with("upload") || event == "abandoned"),
            "{events:?}"
        );
        let storage = registry.storage();
        let (app, other) = ["app", "other"]
            .map(|name| registry.repository(name).unwrap())
            .into();
        let holds = async |repository: &registry_core::Repository, digest: &Digest| {
            storage.blob(repository.name(), digest).await.unwrap().is_some()
        };
        assert!(holds(&app, &digest()).await && !holds(&other, &digest()).await);
        assert!(!holds(&app, &blob).await);
        for (name, is_there) in [("v1", true), ("v2", false)] {
            let found = storage.manifest(app.name(), &tag(name)).await.unwrap();
            assert_eq!(found.is_some(), is_there, "{refused} {target} {name}");
        }
    }
}

#[tokio::test]
async fn a_refused_append_leaves_the_session_and_a_refused_blob_ends_it() {
    for (refused, status) in [
        ("append", StatusCode::NO_CONTENT),
        ("blob", StatusCode::NOT_FOUND),
    ] {
        let registry = hooked(&Recorder::refusing(refused)).await;
        let session = opened(&registry).await;
        let closing = format!("{session}?digest={}", Digest::of(Algorithm::Sha256, b"new"));

        let answer = send(&registry, None, Method::PUT, &closing, "new").await;

        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let session = send(&registry, None, Method::GET, &session, "").await;
        assert_eq!(session.status, status, "{refused}");
    }
}

/// Refuses every pull with a given error.
#[derive(Debug)]
struct Closed(fn() -> HookError);

#[async_trait]
impl Hooks for Closed {
    async fn before_pull(&self, _: &Context, _: &Target) -> Result<(), HookError> {
        Err((self.0)())
    }
}

#[tokio::test]
async fn a_hook_chooses_the_answer_to_a_veto_and_a_failure_is_unavailable() {
    for (error, status, code, message) in [
        (
            (|| {
                HookError::veto_as(
                    StatusCode::TOO_MANY_REQUESTS,
                    ErrorCode::TooManyRequests,
                    "slow down",
                )
            }) as fn() -> HookError,
            429,
            "TOOMANYREQUESTS",
            "slow down",
        ),
        (
            || HookError::failed("secret").retry_after(Duration::from_secs(7)),
            503,
            "UNAVAILABLE",
            "the registry cannot decide about this for now",
        ),
    ] {
        let storage = MemoryStorage::new();
        filled(&storage, &["app"]).await;
        let registry = Registry::builder(storage).hooks(Closed(error)).build();

        let answer = send(&registry, None, Method::GET, "/v2/app/manifests/v1", "").await;

        assert_eq!((answer.status.as_u16(), &*answer.code()), (status, code));
        assert_eq!(answer.message(), message);
        let retry_after = answer.headers.get(header::RETRY_AFTER);
        assert_eq!(retry_after.is_some_and(|after| after == "7"), status == 503);
    }
}

#[tokio::test]
async fn several_hooks_are_asked_in_order_until_one_refuses() {
    let hooks = [
        Recorder::default(),
        Recorder::refusing("delete"),
        Recorder::default(),
    ];
    let storage = MemoryStorage::new();
    filled(&storage, &["app"]).await;
    let builder = hooks.iter().fold(Registry::builder(storage), |builder, hooks| {
        builder.hooks(hooks.clone())
    });
    let app = builder.build().repository("app").unwrap();
    let size = manifest("first").len();
    let question = format!("delete v1 at true of Some({size})?");

    app.delete_manifest(tag("v1")).await.unwrap_err();

    let [first, second, third] = &hooks;
    {
        let seen = first.seen();
        assert_eq!(seen[0].0.operation, seen[1].0.operation);
    }
    assert_eq!(first.take(), [question.clone(), "abandoned".into()]);
    assert_eq!(second.take(), [question]);
    assert!(third.take().is_empty());

    app.put_manifest(push("v1", "first")).await.unwrap();
    let told = first.take();
    assert_eq!(told.len(), 2);
    assert_eq!(second.take(), told);
    assert_eq!(third.take(), told);
}

#[tokio::test]
async fn an_operation_that_fails_or_is_dropped_is_abandoned() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();
    let lacking = manifest("first").to_vec();
    let lacking = String::from_utf8(lacking).unwrap().replace(
        &digest().to_string(),
        &Digest::of(Algorithm::Sha256, b"absent").to_string(),
    );

    let refused = app
        .put_manifest(ManifestPush::new(tag("v2"), lacking))
        .await
        .unwrap_err();
    assert_eq!(refused.wire().1, ErrorCode::ManifestBlobUnknown);
    assert_eq!(hooks.take_events(), ["abandoned"]);

    let session = app.open_upload(Algorithm::Sha256).await.unwrap();
    hooks.take();
    {
        let body = Frames {
            frames: vec!["123"],
            ends: false,
        };
        let appending = pin!(app.append(&session.id, None, BlobSource::body(body)));
        let polled = appending.poll(&mut task::Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert_eq!(hooks.take(), ["append None to 0?", "abandoned"]);
}

#[tokio::test]
async fn hooks_know_who_asks_and_from_where() {
    let hooks = Recorder::default();
    let storage = MemoryStorage::new();
    filled(&storage, &["app"]).await;
    let registry = Registry::builder(storage)
        .authenticator(ByHeader)
        .hooks(hooks.clone())
        .build();
    let app = registry.repository("app").unwrap();
    let pull = |user: &str, id: Option<RequestId>| {
        let address = "192.0.2.7:4711".parse().unwrap();
        let mut request = Request::get("/v2/app/manifests/v1")
            .header(header::AUTHORIZATION, user)
            .header(header::USER_AGENT, "docker/29")
            .header("x-request-id", "of-the-proxy")
            .extension(ClientAddress(address))
            .body(String::new())
            .unwrap();
        if let Some(id) = id {
            request.extensions_mut().insert(id);
        }
        let registry = registry.clone();
        async move {
            registry
                .handle(request)
                .await
                .into_body()
                .collect()
                .await
                .unwrap()
        }
    };

    app.manifest(tag("v1")).await.unwrap();
    app.clone()
        .as_identity(Identity::new("bob"))
        .manifest(tag("v1"))
        .await
        .unwrap();
    pull("ann", None).await;
    pull("ann", Some(RequestId("of-the-host".into()))).await;

    let contexts: Vec<Context> = hooks.seen().iter().map(|(context, _)| context.clone()).collect();
    let told: Vec<_> = contexts
        .iter()
        .step_by(2)
        .map(|context| {
            let actor = match &context.actor {
                Actor::Known(identity) => identity.subject.to_string(),
                other => format!("{other:?}"),
            };
            (
                actor,
                context.client.map(|client| client.port()),
                context.request_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Host".to_owned(), None, None),
            ("bob".into(), None, None),
            ("ann".into(), Some(4711), Some("of-the-proxy")),
            ("ann".into(), Some(4711), Some("of-the-host")),
        ]
    );
    assert_eq!(contexts[4].user_agent.as_deref(), Some("docker/29"));
    let operations: Vec<u64> = contexts.iter().map(|context| context.operation).collect();
    assert_eq!(
        operations,
        [0, 0, 1, 1, 2, 2, 3, 3],
        "one number for each operation"
    );
}

#[tokio::test]
async fn a_stranger_is_not_the_host() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    assert_eq!(IMAGE, MediaType::OCI_MANIFEST);

    send(&registry, None, Method::GET, "/v2/app/manifests/v1", "").await;
    let stranger = registry.repository("app").unwrap().as_stranger();
    stranger.manifest(tag("v1")).await.unwrap();

    let seen = hooks.seen();
    assert!(seen.iter().all(|(context, _)| context.actor == Actor::Stranger));
    assert_eq!(seen.len(), 4);
}
