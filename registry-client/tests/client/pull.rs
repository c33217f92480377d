//! Pulls, whole and across broken connections.

use crate::support::{Scripted, Tapped, content, descriptor, reply};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;
use registry_client::Error;
use registry_core::{Algorithm, Digest, hash::Hasher};
use registry_test::{
    image,
    tap::{Fault, Rule, Side},
};

/// Pushes a blob in process.
async fn hold(tapped: &Tapped, blob: &[u8]) {
    let repository = tapped.registry.registry().repository("team/app").unwrap();
    repository.push_blob(blob.to_vec(), None).await.unwrap();
}

fn cut_blobs(after: u64, times: usize) -> Rule {
    let cut = Fault::Cut {
        side: Side::Response,
        after,
    };
    Rule::new(cut)
        .when(|exchange| exchange.method == Method::GET && exchange.target.contains("/blobs/"))
        .times(times)
}

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_by_digest_byte_for_byte() {
    let tapped = Tapped::start();
    let digest = tapped.registry.seed("team/app:v1", image().files([("a", "1")]));
    let repository = tapped.repository("team/app");

    let resolved = repository.resolve("v1").await.unwrap();
    assert_eq!(resolved.digest, digest);
    let stored = tapped.registry.manifest("team/app:v1").unwrap();
    for reference in ["v1".to_owned(), digest.to_string()] {
        let manifest = repository.manifest(&reference).await.unwrap();
        assert_eq!(manifest.bytes, stored);
        assert_eq!(manifest.digest, digest);
        assert_eq!(manifest.media_type, resolved.media_type);
    }
}

#[tokio::test]
async fn content_that_is_missing_is_an_absence_with_its_code() {
    let tapped = Tapped::start();
    tapped.registry.seed("team/app:v1", image().files([("a", "1")]));
    let repository = tapped.repository("team/app");

    let missing = repository.manifest("v2").await.unwrap_err();
    assert!(missing.is_absence(), "{missing}");
    let missing = repository.resolve("v2").await.unwrap_err();
    assert!(missing.is_absence(), "{missing}");
    let missing = repository.blob(&descriptor(b"x").digest, 9).await.unwrap_err();
    assert!(missing.is_absence(), "{missing}");
}

#[tokio::test]
async fn a_blob_that_is_cut_three_times_arrives_whole_and_each_byte_once() {
    let tapped = Tapped::start();
    let blob = content(3 << 20);
    hold(&tapped, &blob).await;
    tapped.tap.add(cut_blobs(700_000, 3));

    let mut stream = tapped.repository("team/app").open_blob(&descriptor(&blob), 0);
    let mut pulled = Vec::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        pulled.extend_from_slice(&bytes);
    }

    assert!(pulled == blob);
    let exchanges = tapped.tap.exchanges();
    let ranges: Vec<_> = exchanges.iter().map(|one| one.headers.get("range")).collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=700000-"),
            Some("bytes=1400000-"),
            Some("bytes=2100000-")
        ]
        .map(|range| range.map(HeaderValue::from_static))
        .each_ref()
        .map(Option::as_ref)
    );
}

#[tokio::test]
async fn a_small_body_that_is_cut_is_requested_again() {
    let tapped = Tapped::start();
    let blob = content(5000);
    hold(&tapped, &blob).await;
    tapped.tap.add(cut_blobs(4999, 2));

    let pulled = tapped
        .repository("team/app")
        .blob(&descriptor(&blob).digest, 5000)
        .await;

    assert!(pulled.unwrap() == blob);
    assert_eq!(tapped.tap.exchanges().len(), 3);
}

#[tokio::test]
async fn a_stream_from_an_offset_requests_the_rest_and_a_hasher_verifies_it() {
    let tapped = Tapped::start();
    let blob = content(100_000);
    hold(&tapped, &blob).await;
    let repository = tapped.repository("team/app");

    let stream = repository.open_blob(&descriptor(&blob), 60_000);
    assert!(!stream.verifies());
    assert!(stream.into_body().collect().await.unwrap().to_bytes() == blob[60_000..]);

    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&blob[..60_000]);
    let stream = repository.open_blob(&descriptor(&blob), hasher);
    assert!(stream.verifies());
    assert!(stream.into_body().collect().await.unwrap().to_bytes() == blob[60_000..]);

    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&content(60_001)[1..]);
    let stream = repository.open_blob(&descriptor(&blob), hasher);
    let corrupt = stream.into_body().collect().await.unwrap_err();
    assert!(matches!(corrupt, Error::Corrupt { .. }), "{corrupt}");
}

#[tokio::test]
async fn a_stream_that_cannot_start_or_be_verified_is_an_error_before_its_first_byte() {
    let tapped = Tapped::start();
    let blob = content(1000);
    hold(&tapped, &blob).await;
    let repository = tapped.repository("team/app");
    let mut other = Hasher::new(Algorithm::Sha512);
    other.update(&blob[..10]);

    for mut stream in [
        repository.open_blob(&descriptor(&blob), 1001),
        repository.open_blob(&descriptor(&blob), other),
    ] {
        let error = stream.next().await.unwrap_err();
        assert!(matches!(error, Error::InvalidStart { .. }), "{error:?}");
        let again = stream.next().await.unwrap_err();
        assert!(matches!(again, Error::InvalidStart { .. }), "{again:?}");
    }
    assert!(tapped.tap.take().is_empty());
}

#[tokio::test]
async fn the_media_type_of_the_verified_manifest_is_more_than_that_of_the_header() {
    for (document, expected) in [
        (
            r#"{"mediaType":"application/vnd.x+json"}"#,
            "application/vnd.x+json",
        ),
        (r#"{"mediaType":1}"#, "application/vnd.y+json"),
        ("{}", "application/vnd.y+json"),
    ] {
        let registry = Scripted::start(move |_| {
            reply(200)
                .header("content-type", "application/vnd.y+json")
                .body(document)
        });

        let manifest = registry.repository("a").manifest("v1").await.unwrap();

        assert_eq!(manifest.media_type.as_str(), expected, "{document}");
    }
}

#[tokio::test]
async fn a_registry_without_ranges_sends_the_start_again_and_it_is_dropped() {
    let (blob, part) = (content(9000), content(9000));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let scripted = Scripted::start(move |_| {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        // The first body ends early.
        let body = if first { &part[..4000] } else { &part[..] };
        reply(200).header("content-length", "9000").body(body)
    });

    let stream = scripted.repository("a").open_blob(&descriptor(&blob), 0);

    assert!(stream.into_body().collect().await.unwrap().to_bytes() == blob);
    assert_eq!(scripted.received()[1].header("range"), Some("bytes=4000-"));
}

#[tokio::test]
async fn wrong_bytes_are_never_the_end_of_a_stream() {
    let blob = content(2000);
    let wrong = content(2001)[1..].to_vec();
    let scripted = Scripted::start(move |_| reply(200).body(wrong.clone()));
    let repository = scripted.repository("a");

    let error = repository
        .open_blob(&descriptor(&blob), 0)
        .into_body()
        .collect()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let error = repository
        .blob(&descriptor(&blob).digest, 2000)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let error = repository.manifest(&descriptor(&blob).digest).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(
        scripted.received().len(),
        3,
        "corrupt content is not requested again"
    );
}

#[tokio::test]
async fn a_manifest_that_differs_from_its_announced_digest_is_corrupt() {
    let tapped = Tapped::start();
    tapped.registry.seed("team/app:v1", image().files([("a", "1")]));
    let other = Digest::of(Algorithm::Sha256, b"other").to_string();
    let digest = HeaderName::from_static("docker-content-digest");
    tapped
        .tap
        .add(Rule::new(Fault::SetHeader(digest, other.parse().unwrap())));

    let error = tapped.repository("team/app").manifest("v1").await.unwrap_err();

    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused_before_its_bytes() {
    let tapped = Tapped::start();
    let blob = content(1000);
    hold(&tapped, &blob).await;
    for size in [999, 1001] {
        let mut described = descriptor(&blob);
        described.size = size;
        let mut stream = tapped.repository("team/app").open_blob(&described, 0);
        let error = stream.next().await.unwrap_err();
        assert!(
            matches!(error, Error::WrongSize { got: Some(1000), .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn bodies_are_bounded_with_and_without_a_length() {
    let tapped = Tapped::start();
    let blob = content(100_000);
    hold(&tapped, &blob).await;
    let repository = tapped.repository("team/app");
    let digest = descriptor(&blob).digest;

    let error = repository.blob(&digest, 99_999).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 99_999, .. }), "{error}");
    tapped
        .tap
        .add(Rule::new(Fault::RemoveHeader(http::header::CONTENT_LENGTH)));
    let error = repository.blob(&digest, 99_999).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 99_999, .. }), "{error}");
    assert!(repository.blob(&digest, 100_000).await.unwrap() == blob);
}

#[tokio::test]
async fn a_tag_resolves_without_the_headers_that_some_registries_lack() {
    let tapped = Tapped::start();
    let digest = tapped.registry.seed("team/app:v1", image().files([("a", "1")]));
    let header = HeaderName::from_static("docker-content-digest");
    tapped.tap.add(Rule::new(Fault::RemoveHeader(header)));

    let resolved = tapped.repository("team/app").resolve("v1").await.unwrap();

    assert_eq!(resolved.digest, digest);
}

#[tokio::test]
async fn an_empty_blob_and_the_end_of_a_blob_are_streams_without_bytes() {
    let tapped = Tapped::start();
    let blob = content(10);
    hold(&tapped, &blob).await;
    hold(&tapped, b"").await;
    let repository = tapped.repository("team/app");

    let mut empty = repository.open_blob(&descriptor(b""), 0);
    assert_eq!(empty.next().await.unwrap(), None);
    assert_eq!(tapped.tap.take().len(), 1);
    let mut end = repository.open_blob(&descriptor(&blob), 10);
    assert_eq!(end.next().await.unwrap(), None);
    assert_eq!(tapped.tap.take().len(), 0);
}
