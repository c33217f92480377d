//! Tests of refusals by hooks: the response, the stored content, and the events.

use super::*;

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
            "the registry cannot decide about this request now",
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
