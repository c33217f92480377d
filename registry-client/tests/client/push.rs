//! Pushes of blobs, across broken connections and lost answers.

use crate::{
    pushing::{cut, image_type, manifest, push_blob, sent, tags},
    support::{Scripted, Tapped, builder, content, descriptor, reply},
};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use registry_client::{Error, Pushed};
use registry_core::{Algorithm, BoxError, Digest, RepositoryName};
use registry_test::{
    Quirk, TestRegistry, status,
    tap::{Exchange, Fault, Rule, Side},
};
use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[tokio::test]
async fn an_image_is_pushed_whole_and_a_second_push_sends_no_blob() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    let layer = content(100_000);

    assert_eq!(push_blob(&repository, b"{}").await.unwrap(), Pushed::Uploaded);
    assert_eq!(push_blob(&repository, &layer).await.unwrap(), Pushed::Uploaded);
    let text = manifest(&layer);
    let pushed = repository
        .put_manifest(text.clone(), &image_type(), &tags(&["v1"]), None)
        .await
        .unwrap();

    tapped.registry.assert_pushed("team/app:v1");
    tapped.registry.assert_no_open_uploads();
    assert_eq!(tapped.registry.digest("team/app:v1"), Some(pushed.digest));
    assert_eq!(tapped.registry.manifest("team/app:v1").unwrap(), text.as_bytes());
    let _ = tapped.tap.take();
    assert_eq!(push_blob(&repository, &layer).await.unwrap(), Pushed::Existed);
    assert_eq!(tapped.tap.take().len(), 1);
}

#[tokio::test]
async fn a_push_that_is_cut_twice_continues_at_the_offset_of_the_session() {
    let tapped = Tapped::start();
    let layer = content(4 << 20);
    tapped
        .tap
        .add(cut(Side::Request, 1_500_000, Method::PATCH, "/uploads/", 2));

    let pushed = push_blob(&tapped.repository("team/app"), &layer).await.unwrap();

    assert_eq!(pushed, Pushed::Uploaded);
    assert!(
        tapped
            .registry
            .blob("team/app", &descriptor(&layer).digest)
            .unwrap()
            == layer
    );
    let exchanges = tapped.tap.exchanges();
    let mut patches = exchanges
        .iter()
        .filter(|exchange| exchange.method == Method::PATCH);
    let range = patches.next_back().unwrap().headers["content-range"]
        .to_str()
        .unwrap();
    assert!(!range.starts_with("0-"), "{range}");
    assert_eq!(sent(&tapped, &Method::POST).len(), 1, "one session is enough");
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn after_a_lost_answer_the_blob_is_asked_for_and_not_sent_again() {
    let tapped = Tapped::start();
    let layer = content(200_000);
    tapped
        .tap
        .add(cut(Side::Response, 0, Method::PUT, "/uploads/", 1));

    let pushed = push_blob(&tapped.repository("team/app"), &layer).await.unwrap();

    assert_eq!(pushed, Pushed::Uploaded);
    assert_eq!(sent(&tapped, &Method::PUT), [200_000]);
}

#[tokio::test]
async fn a_blob_that_is_there_after_its_session_ended_is_pushed() {
    // The registry commits the blob, but its answer is lost and the blob appears only after that.
    for size in [3000, 2 << 20, (16 << 20) + 1] {
        let (asked, closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let registry = Scripted::start(move |received| match &*received.method {
            "POST" => reply(202).header("location", "/session"),
            "PATCH" => reply(202),
            "PUT" if !closed.swap(true, Ordering::SeqCst) => reply(504),
            "HEAD" if closed.load(Ordering::SeqCst) && asked.fetch_add(1, Ordering::SeqCst) > 0 => reply(200),
            _ => reply(404),
        });
        let repository = registry.repository("a");
        let blob = Bytes::from(content(size));

        if size > 16 << 20 {
            let stream = Full::new(blob);
            repository.push_stream(stream, Algorithm::Sha256).await.unwrap();
        } else {
            push_blob(&repository, &blob).await.unwrap();
        }

        let received = registry.received();
        let opened = received.iter().filter(|one| one.method == "POST").count();
        assert_eq!(opened, 1, "{size}");
    }
}

#[tokio::test]
async fn a_session_that_ended_is_replaced_at_each_attempt() {
    let layer = content(3000);
    let registry = Scripted::start(|received| match (&*received.method, received.path()) {
        ("POST", _) => reply(202).header("location", "/s1"),
        ("PUT", "/s1") => reply(500),
        _ => reply(404),
    });

    let error = push_blob(&registry.repository("a"), &layer).await.unwrap_err();

    assert!(
        matches!(error, Error::Unavailable { status: 500, .. }),
        "{error:?}"
    );
    let received = registry.received();
    let of = |method: &str| received.iter().filter(|one| one.method == method).count();
    // One session for each attempt, and each is cancelled.
    assert_eq!((of("POST"), of("PUT"), of("DELETE")), (4, 4, 4));
}

#[tokio::test]
async fn a_session_that_the_registry_may_be_closing_is_not_cancelled() {
    for (status, cancelled) in [(504, 0), (500, 1)] {
        let registry = Scripted::start(move |received| match &*received.method {
            "POST" => reply(202).header("location", "/session"),
            "GET" => reply(204).header("range", "0-2999"),
            "PUT" => reply(status),
            _ => reply(404),
        });

        push_blob(&registry.repository("a"), &content(3000))
            .await
            .unwrap_err();

        let received = registry.received();
        let deleted = received.iter().filter(|one| one.method == "DELETE");
        assert_eq!(deleted.count(), cancelled, "{status}");
    }
}

#[tokio::test]
async fn a_registry_that_cannot_continue_gets_the_whole_blob_again() {
    let layer = content((1 << 20) + 1);
    let registry = Scripted::start(
        |received| match (&*received.method, received.header("content-range")) {
            ("POST", _) => reply(202).header("location", "/session"),
            ("GET", _) => reply(204).header("range", "0-999"),
            ("PATCH", Some("1000-1048576")) => reply(400),
            ("PATCH", None) => reply(503),
            _ => reply(404),
        },
    );

    let error = push_blob(&registry.repository("a"), &layer).await.unwrap_err();

    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
    let received = registry.received();
    let patches = received.iter().filter(|one| one.method == "PATCH");
    let sizes: Vec<_> = patches.map(|one| one.body.len()).collect();
    assert_eq!(sizes, [1_048_577, 1_047_577, 1_048_577, 1_047_577]);
}

#[tokio::test]
async fn a_session_that_holds_one_byte_of_a_blob_is_continued() {
    let layer = content(2 << 20);
    let registry = Scripted::start(
        |received| match (&*received.method, received.header("content-range")) {
            ("POST", _) => reply(202).header("location", "/session"),
            ("GET", _) => reply(204).header("range", "0-0"),
            ("PATCH", None) => reply(503),
            ("PATCH", Some("1-2097151")) => reply(202).header("range", "0-2097151"),
            ("PATCH", _) => reply(416),
            ("PUT", _) => reply(201),
            _ => reply(404),
        },
    );

    push_blob(&registry.repository("a"), &layer).await.unwrap();

    let received = registry.received();
    let patches = received.iter().filter(|one| one.method == "PATCH");
    let sizes: Vec<_> = patches.map(|one| one.body.len()).collect();
    assert_eq!(sizes, [2_097_152, 2_097_152, 2_097_151]);
}

#[tokio::test]
async fn a_registry_whose_offset_goes_up_and_down_is_given_up() {
    let up = AtomicBool::new(false);
    let registry = Scripted::start(move |received| match &*received.method {
        "POST" => reply(202).header("location", "/session"),
        "GET" if up.fetch_not(Ordering::SeqCst) => reply(204).header("range", "0-999999"),
        "GET" => reply(204).header("range", "0-99"),
        "HEAD" => reply(404),
        _ => reply(503),
    });
    let large = content((17 << 20) + 1);

    let error = push_blob(&registry.repository("a"), &large[..2 << 20])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let stream = Full::new(Bytes::from(large));
    let error = registry
        .repository("a")
        .push_stream(stream, Algorithm::Sha256)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_largest_offset_of_a_session_is_beyond_any_blob() {
    let largest = format!("0-{}", u64::MAX);
    let registry = Scripted::start(move |received| match &*received.method {
        "POST" => reply(202).header("location", "/session"),
        "GET" | "PATCH" => reply(202).header("range", largest.clone()),
        _ => reply(404),
    });

    let error = push_blob(&registry.repository("a"), &content(2 << 20))
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn content_of_another_digest_or_size_is_refused_and_leaves_nothing() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    let blob = Bytes::from(content(1000));
    let mut short = descriptor(&blob);
    short.size = 1001;

    let error = repository
        .push_blob(blob.clone(), &descriptor(b"other"))
        .await
        .unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    let wrong = content(1001)[1..].to_vec();
    let error = repository
        .push_blob(Bytes::from(wrong), &descriptor(&blob))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
    let error = repository.push_blob(blob.clone(), &short).await.unwrap_err();
    assert!(matches!(error, Error::Content(_)), "{error:?}");
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let tapped = Tapped::start();
    let layer = content(5000);
    push_blob(&tapped.repository("team/base"), &layer).await.unwrap();
    let name = |name: &str| RepositoryName::parse(name).unwrap();
    let repository = tapped.repository("team/app");
    let _ = tapped.tap.take();

    assert!(
        !repository
            .mount(&descriptor(&layer).digest, &name("team/none"))
            .await
            .unwrap()
    );
    let repository = repository.mounting_from([name("team/none"), name("team/base")]);
    let pushed = push_blob(&repository, &layer).await.unwrap();

    assert_eq!(pushed, Pushed::Mounted(name("team/base")));
    assert_eq!(repository.abilities().mounts, Some(true));
    assert!(tapped.tap.take().iter().all(|exchange| exchange.sent == 0));
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn a_refused_mount_does_not_prevent_the_push() {
    for (status, mounts) in [(401, 2), (403, 2), (404, 2), (405, 1), (400, 2)] {
        let registry = Scripted::start(move |received| match &*received.method {
            "POST" if received.target.contains("mount=") => reply(status),
            "POST" => reply(202).header("location", "/session"),
            "PUT" => reply(201),
            _ => reply(404),
        });
        let sources = ["b", "c"].map(|name| RepositoryName::parse(name).unwrap());
        let repository = registry.repository("a").mounting_from(sources);

        let pushed = push_blob(&repository, b"layer").await.unwrap();

        assert_eq!(pushed, Pushed::Uploaded, "{status}");
        let (digest, from) = (descriptor(b"layer").digest, RepositoryName::parse("b").unwrap());
        let mounted = registry.repository("a").mount(&digest, &from).await;
        assert!(!mounted.unwrap(), "{status}");
        let unknown = repository.abilities().mounts.is_none();
        assert_eq!(unknown, status != 405, "{status}");
        let received = registry.received();
        let tried = received.iter().filter(|one| one.target.contains("mount="));
        assert_eq!(tried.count(), mounts + 1, "{status}");
    }
}

#[tokio::test]
async fn a_stream_is_sent_in_chunks_and_each_failed_one_again() {
    let tapped = Tapped::start();
    let layer = content((33 << 20) + 5);
    // The first chunk breaks off, and the answer to the second one is lost.
    tapped
        .tap
        .add(cut(Side::Request, 3 << 20, Method::PATCH, "/uploads/", 1));
    let lost = |exchange: &Exchange| {
        let range = exchange
            .headers
            .get("content-range")
            .map(|range| range.to_str().unwrap());
        range.is_some_and(|range| range.starts_with("16777216-"))
    };
    let answer = Fault::Cut {
        side: Side::Response,
        after: 0,
    };
    tapped.tap.add(Rule::new(answer).when(lost).times(1));

    let pieces = layer.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
    let pushed = tapped
        .repository("team/app")
        .push_stream(Pieces(pieces), Algorithm::Sha256)
        .await
        .unwrap();

    assert_eq!(
        (pushed.digest, pushed.size),
        (descriptor(&layer).digest, layer.len() as u64)
    );
    assert!(tapped.registry.blob("team/app", &pushed.digest).unwrap() == layer);
    let total: u64 = sent(&tapped, &Method::PATCH).iter().sum();
    assert!(total < layer.len() as u64 + (17 << 20), "{total}");
    tapped.registry.assert_no_open_uploads();
}

/// Body of several frames.
struct Pieces(std::collections::VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

/// Returns the size of a chunk of an upload.
pub(crate) fn chunk(exchange: &Exchange) -> Option<u64> {
    let length = exchange.headers.get("content-length")?.to_str().ok()?;
    let is_upload = exchange.target.contains("/uploads/");
    length.parse().ok().filter(|length| is_upload && *length > 0)
}

/// Refuses chunks of more than `most` bytes, as proxies do.
pub(crate) fn refuses_more_than(most: u64, code: &str) -> Rule {
    let larger = move |exchange: &Exchange| chunk(exchange).is_some_and(|size| size > most);
    Rule::new(status(413).code(code)).when(larger)
}

#[tokio::test]
async fn a_chunk_that_is_too_large_is_sent_in_smaller_ones() {
    let tapped = Tapped::start();
    let layer = content((33 << 20) + 5);
    let refusing = tapped.tap.add(refuses_more_than(5 << 20, "UNKNOWN"));
    let repository = tapped.repository("team/app");

    let stream = Full::new(Bytes::from(layer.clone()));
    let pushed = repository.push_stream(stream, Algorithm::Sha256).await.unwrap();

    assert!(tapped.registry.blob("team/app", &pushed.digest).unwrap() == layer);
    // 16 and 8 MiB are refused once each, and the size is known then.
    assert_eq!(refusing.fired(), 2);
    assert_eq!(repository.abilities().max_chunk, Some(4 << 20));
    let other = content((9 << 20) + 3);
    push_blob(&repository, &other).await.unwrap();
    assert!(
        tapped
            .registry
            .blob("team/app", &descriptor(&other).digest)
            .unwrap()
            == other
    );
    assert_eq!(refusing.fired(), 2);
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn smaller_chunks_of_a_stream_have_the_required_size() {
    const LEAST: u64 = 5 << 20;
    let registry = TestRegistry::builder().quirk(Quirk::SmallestChunk(LEAST)).start();
    let tapped = Tapped::before(registry);
    let refusing = tapped.tap.add(refuses_more_than(6 << 20, "UNKNOWN"));
    let layer = content((33 << 20) + 5);

    let stream = Full::new(Bytes::from(layer.clone()));
    let repository = tapped.repository("team/app");
    let pushed = repository.push_stream(stream, Algorithm::Sha256).await.unwrap();

    assert!(tapped.registry.blob("team/app", &pushed.digest).unwrap() == layer);
    assert_eq!(refusing.fired(), 2);
    let exchanges = tapped.tap.exchanges();
    let patches = exchanges.iter().filter(|one| one.method == Method::PATCH);
    let sizes: Vec<u64> = patches.filter_map(chunk).collect();
    let (last, others) = sizes.split_last().unwrap();
    assert!(*last < LEAST, "{sizes:?}");
    assert!(others.iter().all(|size| *size >= LEAST), "{sizes:?}");
}

#[tokio::test]
async fn a_blob_that_is_too_large_for_a_request_is_sent_in_chunks() {
    for (size, most, refusals) in [(9 << 20, 5 << 20, 1), (1 << 20, 300_000, 2)] {
        let tapped = Tapped::start();
        let layer = content(size);
        let refusing = tapped.tap.add(refuses_more_than(most, "UNKNOWN"));
        // One of the smaller chunks breaks off.
        let cut = Fault::Cut {
            side: Side::Request,
            after: 100_000,
        };
        let passes = move |exchange: &Exchange| chunk(exchange).is_some_and(|size| size <= most);
        let broken = tapped.tap.add(Rule::new(cut).when(passes).times(1));

        push_blob(&tapped.repository("team/app"), &layer).await.unwrap();

        let digest = descriptor(&layer).digest;
        assert!(tapped.registry.blob("team/app", &digest).unwrap() == layer);
        assert_eq!((refusing.fired(), broken.fired()), (refusals, 1));
        assert_eq!(sent(&tapped, &Method::POST).len(), 1, "one session is enough");
    }
}

#[tokio::test]
async fn a_blob_that_is_too_large_for_the_registry_is_not_sent_in_chunks() {
    for (fault, refusals) in [
        // The code of the registry is about the blob.
        (refuses_more_than(0, "SIZE_INVALID"), 1),
        // 2 MiB to 64 KiB.
        (refuses_more_than(0, "UNKNOWN"), 6),
    ] {
        let tapped = Tapped::start();
        let refusing = tapped.tap.add(fault);

        let repository = tapped.repository("team/app");
        let error = push_blob(&repository, &content(2 << 20)).await.unwrap_err();

        assert!(matches!(error, Error::Refused { status: 413, .. }), "{error:?}");
        assert_eq!(repository.abilities().max_chunk, None, "no size was accepted");
        assert_eq!(refusing.fired(), refusals);
        tapped.registry.assert_no_open_uploads();
    }
}

#[tokio::test]
async fn a_short_stream_is_not_sent_if_the_repository_has_it() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    let blob = content(9000);
    for exchanges in [3, 1] {
        let stream = Full::new(Bytes::from(blob.clone()));
        let pushed = repository.push_stream(stream, Algorithm::Sha512).await.unwrap();
        assert_eq!(pushed.digest, Digest::of(Algorithm::Sha512, &blob));
        assert_eq!(tapped.tap.take().len(), exchanges);
    }
}

#[tokio::test]
async fn an_error_of_the_stream_ends_the_push_and_its_session() {
    let tapped = Tapped::start();
    let failing = Full::new(Bytes::from(content(17 << 20)))
        .map_err(|never: Infallible| -> BoxError { match never {} })
        .with_trailers(async { Some(Err("the disk is gone".into())) });

    let error = tapped
        .repository("team/app")
        .push_stream(failing, Algorithm::Sha256)
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Content(_)), "{error:?}");
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn a_registry_cannot_make_the_client_keep_huge_chunks() {
    let registry = Scripted::start(|received| match &*received.method {
        "POST" => reply(202)
            .header("location", "/session")
            .header("oci-chunk-min-length", "1099511627776"),
        _ => reply(204),
    });
    let stream = Full::new(Bytes::from(content(17 << 20)));

    let error = registry
        .repository("a")
        .push_stream(stream, Algorithm::Sha256)
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_location_on_another_host_gets_no_login() {
    let store = std::sync::Arc::new(Scripted::start(|_| reply(201)));
    let location = store.url("/session?state=s");
    let registry =
        Scripted::start(
            move |received| match (received.header("authorization"), &*received.method) {
                (None, _) => reply(401).header("www-authenticate", "Basic realm=r"),
                (_, "POST") => reply(202).header("location", location.clone()),
                _ => reply(404),
            },
        );
    let host = registry_client::Host::parse(&registry.host()).unwrap();
    let login = registry_client::Credential::password("ann", "pw");
    let logins = std::collections::BTreeMap::from([(host, login)]);
    let client = builder().credentials(logins).build().unwrap();
    let repository = client.repository(&format!("{}/a", registry.host())).unwrap();

    push_blob(&repository, b"layer").await.unwrap();

    let [put] = &store.received()[..] else {
        panic!("one request is enough");
    };
    assert_eq!(put.header("authorization"), None);
    assert!(
        put.target.starts_with("/session?state=s&digest=sha256%3A"),
        "{}",
        put.target
    );
    assert_eq!(put.body, b"layer");
}
