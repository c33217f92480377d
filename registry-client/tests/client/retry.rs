//! Attempts after transient failures, and the errors after the last one.

use crate::support::{Received, Reply, Scripted, builder, content, descriptor, reply};
use bytes::Bytes;
use registry_client::{Error, Retry};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Answers with the statuses in turn, then with 200 and a body.
fn after(statuses: &'static [u16], body: Vec<u8>) -> impl Fn(&Received) -> Reply {
    let count = AtomicUsize::new(0);
    move |_| match statuses.get(count.fetch_add(1, Ordering::SeqCst)) {
        Some(status) => reply(*status).header("retry-after", "0"),
        None => reply(200).body(body.clone()),
    }
}

#[tokio::test]
async fn transient_statuses_are_tried_again() {
    let blob = content(3000);
    for statuses in [[429, 503, 500], [408, 502, 504]] {
        let statuses = Box::leak(Box::new(statuses));
        let registry = Scripted::start(after(statuses, blob.clone()));

        let pulled = registry
            .repository("a")
            .blob(&descriptor(&blob).digest, 3000)
            .await;

        assert!(pulled.unwrap() == blob);
        assert_eq!(registry.received().len(), 4);
    }
}

#[tokio::test]
async fn a_stream_survives_a_429_in_its_middle_byte_for_byte() {
    let blob = content(50_000);
    let count = AtomicUsize::new(0);
    let sent = blob.clone();
    let registry = Scripted::start(move |received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(200).header("content-length", "50000").body(&sent[..20_000]),
        1 => reply(429).header("retry-after", "0"),
        _ => {
            assert_eq!(received.header("range"), Some("bytes=20000-"));
            reply(206)
                .header("content-range", "bytes 20000-49999/50000")
                .body(&sent[20_000..])
        }
    });

    let mut stream = registry.repository("a").open_blob(&descriptor(&blob), 0);
    let mut pulled = Vec::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        pulled.extend_from_slice(&bytes);
    }

    assert!(pulled == blob);
}

#[tokio::test]
async fn the_last_failure_is_the_error_with_its_facts() {
    for (status, number) in [
        (429, 4),
        (503, 4),
        (404, 1),
        (403, 1),
        (401, 1),
        (418, 1),
        (405, 1),
    ] {
        let body = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let body = if status == 404 { "" } else { body };
        let registry = Scripted::start(move |_| reply(status).header("retry-after", "0").body(body));

        let error = registry.repository("a").manifest("v1").await.unwrap_err();

        let zero = Some(Duration::ZERO);
        let right = match (status, &error) {
            (429, Error::TooMany { retry_after, .. }) => *retry_after == zero,
            (
                503,
                Error::Unavailable {
                    status: 503,
                    retry_after,
                    ..
                },
            ) => *retry_after == zero,
            (404, Error::NotFound { code: None, .. }) => !error.is_absence(),
            (403, Error::Denied { code, .. }) => code.as_deref() == Some("DENIED"),
            (401, Error::Unauthorized { with_credential, .. }) => !with_credential,
            (418, Error::Refused { status: 418, .. }) | (405, Error::Unsupported { .. }) => true,
            _ => false,
        };
        assert!(right, "{status}: {error:?}");
        assert_eq!(registry.received().len(), number, "{status}");
    }
}

#[tokio::test]
async fn an_outage_during_a_push_or_a_login_costs_the_attempts_of_one_call() {
    let opened = AtomicBool::new(false);
    let registry = Scripted::start(move |received| match &*received.method {
        "HEAD" if !opened.load(Ordering::SeqCst) => reply(404),
        "POST" if !opened.swap(true, Ordering::SeqCst) => reply(202).header("location", "/session"),
        _ => reply(503),
    });
    let blob = content(3000);
    let error = registry
        .repository("a")
        .push_blob(Bytes::from(blob.clone()), &descriptor(&blob))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let methods: Vec<_> = registry.received().into_iter().map(|one| one.method).collect();
    assert_eq!(
        methods,
        ["HEAD", "POST", "PUT", "HEAD", "GET", "GET", "GET", "DELETE"]
    );

    let tokens = Arc::new(Scripted::start(|_| reply(503)));
    let challenge = format!("Bearer realm=\"{}\"", tokens.url("/token"));
    let registry = Scripted::start(move |_| reply(401).header("www-authenticate", challenge.clone()));
    let error = registry.repository("a").manifest("v1").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(tokens.received().len(), 4);
}

#[tokio::test]
async fn a_404_that_hides_a_name_is_denied_and_not_an_absence() {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"hidden"}]}"#;
    let registry = Scripted::start(move |_| reply(404).body(body));

    let error = registry.repository("a").manifest("v1").await.unwrap_err();

    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_retry_after_beyond_the_limit_ends_the_attempts_at_once() {
    let registry = Scripted::start(|_| reply(429).header("retry-after", "3600"));
    let client = builder().retry(Retry::new(9)).build().unwrap();
    let repository = client.repository(&format!("{}/a", registry.host())).unwrap();

    let error = repository.manifest("v1").await.unwrap_err();

    let hour = Some(Duration::from_secs(3600));
    assert!(
        matches!(&error, Error::TooMany { retry_after, .. } if *retry_after == hour),
        "{error:?}"
    );
    assert_eq!(registry.received().len(), 1);
}

#[tokio::test]
async fn a_silent_registry_is_given_up() {
    // It accepts connections, and answers nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let client = builder()
        .retry(Retry::new(1))
        .idle_timeout(Duration::from_millis(20))
        .build()
        .unwrap();

    let error = client
        .repository(&format!("{host}/a"))
        .unwrap()
        .manifest("v1")
        .await
        .unwrap_err();

    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_is_a_transport_error_with_its_cause() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let client = builder().build().unwrap();

    let error = client
        .repository(&format!("{host}/a"))
        .unwrap()
        .manifest("v1")
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}
