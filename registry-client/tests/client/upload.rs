//! Uploads that another process continues.

use crate::{
    push::{chunk, refuses_more_than},
    support::{Tapped, builder, content},
};
use bytes::Bytes;
use http::Method;
use registry_client::{Error, RemoteRepository, Upload, UploadToken};
use registry_core::{Algorithm, Digest};
use registry_test::{
    Quirk, TestRegistry,
    tap::{Exchange, Fault, Rule, Side},
};

const CHUNK: usize = 100_000;

/// Returns the repository of a client that knows nothing but a token.
fn restarted(tapped: &Tapped, name: &str) -> RemoteRepository {
    let address = tapped.tap.address();
    let client = builder().build().unwrap();
    client.repository(&format!("{address}/{name}")).unwrap()
}

/// Passes all bytes from the offset on, in chunks.
async fn append_rest(upload: &mut Upload, blob: &[u8]) {
    let from = usize::try_from(upload.offset()).unwrap();
    for chunk in blob[from..].chunks(CHUNK) {
        upload.append(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
}

fn saved(upload: &Upload) -> UploadToken {
    upload.token().to_string().parse().unwrap()
}

fn sent(tapped: &Tapped) -> u64 {
    tapped.tap.take().iter().map(|exchange| exchange.sent).sum()
}

#[tokio::test]
async fn another_process_continues_an_upload_where_the_first_one_stopped() {
    let tapped = Tapped::start();
    let blob = content(5 * CHUNK + 7);
    for algorithm in Algorithm::ALL {
        let first = restarted(&tapped, "team/app").with_algorithm(algorithm);
        let mut upload = first.upload(None).await.unwrap();
        upload.append(blob[..2 * CHUNK].to_vec()).await.unwrap();
        let token = saved(&upload);
        drop((upload, first));
        let _ = tapped.tap.take();

        let mut upload = restarted(&tapped, "team/app").upload(Some(token)).await.unwrap();
        assert_eq!(upload.offset(), 2 * CHUNK as u64);
        append_rest(&mut upload, &blob).await;
        let info = upload.finish().await.unwrap();

        assert_eq!(info.digest, Digest::of(algorithm, &blob));
        assert!(tapped.registry.blob("team/app", &info.digest).unwrap() == blob);
        assert_eq!(sent(&tapped), 3 * CHUNK as u64 + 7);
    }
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn bytes_that_arrived_after_the_token_are_hashed_and_not_sent_again() {
    let tapped = Tapped::start();
    let blob = content(3 * CHUNK);
    let mut upload = tapped.repository("team/app").upload(None).await.unwrap();
    upload.append(blob[..CHUNK].to_vec()).await.unwrap();
    let token = saved(&upload);
    upload.append(blob[CHUNK..2 * CHUNK].to_vec()).await.unwrap();
    let _ = tapped.tap.take();

    let mut upload = restarted(&tapped, "team/app").upload(Some(token)).await.unwrap();
    assert_eq!(upload.offset(), CHUNK as u64);
    // Half of it is known to the registry.
    upload.append(blob[CHUNK..].to_vec()).await.unwrap();
    let info = upload.finish().await.unwrap();

    assert_eq!(sent(&tapped), CHUNK as u64);
    assert!(tapped.registry.blob("team/app", &info.digest).unwrap() == blob);
}

#[tokio::test]
async fn bytes_that_the_registry_has_lost_are_sent_again_and_hashed_once() {
    let tapped = Tapped::start();
    let blob = content(3 * CHUNK);
    let repository = tapped.repository("team/app");
    let mut ahead = repository.upload(None).await.unwrap();
    ahead.append(blob[..2 * CHUNK].to_vec()).await.unwrap();
    let mut behind = repository.upload(None).await.unwrap();
    behind.append(blob[..CHUNK].to_vec()).await.unwrap();
    // The hash of one upload with the session of the other one.
    let text = ahead.token().to_string();
    let field = |text: &str| -> String {
        let fields: serde_json::Value = serde_json::from_str(text).unwrap();
        fields["location"].as_str().unwrap().to_owned()
    };
    let token = text.replace(&field(&text), &field(&behind.token().to_string()));

    let mut upload = repository.upload(Some(token.parse().unwrap())).await.unwrap();
    assert_eq!(upload.offset(), CHUNK as u64);
    let error = upload.finish().await.unwrap_err();
    let missing = (CHUNK as u64, 2 * CHUNK as u64);
    let is_incomplete =
        matches!(error, Error::WrongSize { got: Some(got), expected, .. } if (got, expected) == missing);
    assert!(is_incomplete, "{error:?}");
    append_rest(&mut upload, &blob).await;
    let info = upload.finish().await.unwrap();

    assert_eq!(info.digest, Digest::of(Algorithm::Sha256, &blob));
    ahead.cancel().await;
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn a_session_with_one_byte_which_looks_empty_is_continued() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    for blob in [content(CHUNK), content(1)] {
        let mut upload = repository.upload(None).await.unwrap();
        upload.append(blob[..1].to_vec()).await.unwrap();
        let mut upload = repository.upload(Some(saved(&upload))).await.unwrap();
        append_rest(&mut upload, &blob).await;

        let info = upload.finish().await.unwrap();

        assert_eq!(info.digest, Digest::of(Algorithm::Sha256, &blob));
    }
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_found() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    let mut upload = repository.upload(None).await.unwrap();
    upload.append(content(CHUNK)).await.unwrap();
    let token = saved(&upload);
    upload.cancel().await;

    let error = repository.upload(Some(token)).await.unwrap_err();

    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_of_another_repository_or_registry_is_refused_without_a_request() {
    let tapped = Tapped::start();
    let other = Tapped::start();
    let token = saved(&tapped.repository("team/app").upload(None).await.unwrap());
    let _ = tapped.tap.take();

    for repository in [tapped.repository("team/web"), other.repository("team/app")] {
        let error = repository.upload(Some(token.clone())).await.unwrap_err();
        assert!(matches!(error, Error::InvalidStart { .. }), "{error:?}");
    }

    assert!(tapped.tap.take().is_empty() && other.tap.take().is_empty());
}

#[tokio::test]
async fn an_append_that_fails_is_repeated_with_the_same_bytes() {
    let tapped = Tapped::start();
    let blob = content(20 * CHUNK);
    let mut upload = tapped.repository("team/app").upload(None).await.unwrap();
    upload.append(blob[..CHUNK].to_vec()).await.unwrap();
    let cut = Fault::Cut {
        side: Side::Request,
        after: 1_000_000,
    };
    let is_patch = |exchange: &Exchange| exchange.method == Method::PATCH;
    // The registry keeps what arrived, and does not say so.
    let broken = tapped.tap.add(Rule::new(cut).when(is_patch).times(1));
    let away = |exchange: &Exchange| exchange.method == Method::GET;
    let away = tapped.tap.add(Rule::new(Fault::Refuse).when(away));

    let error = upload.append(blob[CHUNK..].to_vec()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!((broken.fired(), upload.offset()), (1, CHUNK as u64));
    away.clear();
    // The registry may still be storing what has arrived.
    let arrived = CHUNK as u64 + 1_000_000;
    while tapped.registry.uploads_left_open()[0].offset < arrived {
        tokio::task::yield_now().await;
    }
    let _ = tapped.tap.take();
    upload.append(blob[CHUNK..].to_vec()).await.unwrap();
    let info = upload.finish().await.unwrap();

    assert_eq!(info.digest, Digest::of(Algorithm::Sha256, &blob));
    assert_eq!(sent(&tapped), 19 * CHUNK as u64 - 1_000_000);
}

#[tokio::test]
async fn bytes_of_two_blobs_make_none() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    let mut upload = repository.upload(None).await.unwrap();
    upload.append(content(CHUNK)).await.unwrap();
    let token = saved(&upload);
    upload.append("one").await.unwrap();
    let mut upload = repository.upload(Some(token)).await.unwrap();
    upload.append("other").await.unwrap();

    let error = upload.finish().await.unwrap_err();

    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
    upload.cancel().await;
    tapped.registry.assert_no_open_uploads();
}

#[tokio::test]
async fn what_is_too_short_for_a_chunk_is_sent_with_the_next_bytes() {
    const LEAST: u64 = 5 << 20;
    let registry = TestRegistry::builder().quirk(Quirk::SmallestChunk(LEAST)).start();
    let tapped = Tapped::before(registry);
    let refusing = tapped.tap.add(refuses_more_than(6 << 20, "UNKNOWN"));
    let blob = content((23 << 20) + 1);
    let repository = tapped.repository("team/app");
    let mut upload = repository.upload(None).await.unwrap();

    upload.append(blob[..16 << 20].to_vec()).await.unwrap();
    assert_eq!(upload.offset(), 16 << 20);
    let token = saved(&upload);
    // The registry has 15 MiB. The answer to the next chunk, which begins there, is lost.
    let resumed = repository.upload(Some(token)).await.unwrap();
    assert_eq!(resumed.offset(), 15 << 20);
    let lost = Fault::Cut {
        side: Side::Response,
        after: 0,
    };
    let is_patch = |exchange: &Exchange| exchange.method == Method::PATCH;
    let lost = tapped.tap.add(Rule::new(lost).when(is_patch).times(1));
    let away = |exchange: &Exchange| exchange.method == Method::GET;
    let away = tapped.tap.add(Rule::new(Fault::Refuse).when(away));
    upload
        .append(blob[16 << 20..21 << 20].to_vec())
        .await
        .unwrap_err();
    away.clear();
    assert_eq!(lost.fired(), 1);
    upload.append(blob[16 << 20..21 << 20].to_vec()).await.unwrap();
    upload.append(blob[21 << 20..].to_vec()).await.unwrap();
    let info = upload.finish().await.unwrap();

    assert!(tapped.registry.blob("team/app", &info.digest).unwrap() == blob);
    assert_eq!(refusing.fired(), 2);
    let exchanges = tapped.tap.exchanges();
    let patches = exchanges.iter().filter(|one| one.method == Method::PATCH);
    let sizes: Vec<u64> = patches.filter_map(chunk).collect();
    let (last, others) = sizes.split_last().unwrap();
    assert!(*last < LEAST, "{sizes:?}");
    assert!(others.iter().all(|size| *size >= LEAST), "{sizes:?}");
}
