//! Tests of the events of pushes, deletions and upload sessions.

use super::*;
use registry_core::maintenance::Clock;
use std::time::SystemTime;

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

/// Clock that is far ahead, and stops.
struct Ahead;

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 36)
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

#[tokio::test]
async fn hooks_hear_that_a_session_has_expired() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    for body in ["12345", ""] {
        let session = opened(&registry).await;
        send(&registry, None, Method::PATCH, &session, body).await;
    }
    hooks.take();

    {
        let upkeep = registry.upkeep();
        let running = pin!(upkeep.run(&Ahead));
        let polled = running.poll(&mut task::Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    assert!(
        hooks
            .seen()
            .iter()
            .all(|(context, _)| context.actor == Actor::Host)
    );
    let mut told = hooks.take();
    told.sort();
    assert_eq!(
        told,
        ["upload of Some(0) abandoned", "upload of Some(5) abandoned"]
    );
}

#[tokio::test]
async fn a_blob_is_announced_with_its_exact_size_however_it_is_pushed() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();

    // Digest and size are unknown until the whole body has arrived.
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

/// Panics in one of the events of a pushed blob: in the last one, or in the one before it.
#[derive(Debug)]
struct Panicking {
    in_last: bool,
}

impl Hooks for Panicking {
    fn event(&self, event: &Arc<Event>) {
        match event.kind {
            EventKind::BlobPushed { .. } => assert!(!self.in_last, "the panic of this test"),
            EventKind::UploadEnded { .. } => assert!(self.in_last, "the panic of this test"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn after_a_panic_in_an_event_no_hook_is_told_that_a_committed_push_was_abandoned() {
    for in_last in [true, false] {
        let hooks = Recorder::default();
        let registry = Registry::builder(MemoryStorage::new())
            .hooks(hooks.clone())
            .hooks(Panicking { in_last });
        let repository = registry.build().repository("team/app").unwrap();
        let pushed = repository.clone();

        let push = tokio::spawn(async move { pushed.push_blob("{}", None).await });

        assert!(push.await.unwrap_err().is_panic());
        assert!(repository.blob(&digest()).await.unwrap().is_some());
        let events = hooks.take_events();
        assert!(events.contains(&"upload of 2 ended".into()), "{events:?}");
        assert!(!events.contains(&"abandoned".into()), "{events:?}");
    }
}
