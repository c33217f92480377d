//! Sessions that a client continues at two replicas in turn. Each has seen another state of them last.

use crate::{Location, support::open};
use async_trait::async_trait;
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, Error, Registry, Repository, UploadId,
    hooks::{Context, HookError, Hooks},
    protocol::ContentRange,
    service::BlobSource,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const MIB: usize = 1 << 20;

/// Opens two replicas of a registry.
async fn replicas() -> (Repository, Repository) {
    let location = Location::memory();
    let (first, second) = (open(&location).await, open(&location).await);
    let repository = |storage| Registry::builder(storage).build().repository("a").unwrap();
    (repository(first), repository(second))
}

async fn opened(at: &Repository) -> UploadId {
    at.open_upload(Algorithm::Sha256).await.unwrap().id
}

async fn close(at: &Repository, id: &UploadId, content: &[u8]) -> Result<(), Error> {
    let digest = Digest::of(Algorithm::Sha256, content);
    at.close(id, &digest, None, "").await.map(drop)
}

#[tokio::test]
async fn each_replica_continues_a_session_where_the_other_one_has_left_it() {
    let (a, b) = replicas().await;
    let id = opened(&a).await;

    assert_eq!(b.append(&id, None, "one ").await.unwrap(), 4);
    assert_eq!(a.append(&id, None, "two ").await.unwrap(), 8);
    assert_eq!(b.append(&id, None, "three").await.unwrap(), 13);

    close(&a, &id, b"one two three").await.unwrap();
}

#[tokio::test]
async fn a_body_of_unknown_length_is_received_after_one_at_another_replica() {
    let (a, b) = replicas().await;
    let id = opened(&a).await;
    b.append(&id, None, vec![1; MIB]).await.unwrap();

    let chunks = (0..2).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![2; MIB])));
    let body = BlobSource::stream(futures_util::stream::iter(chunks));
    let appended = a.append(&id, None, body).await;

    assert_eq!(appended.unwrap(), 3 * MIB as u64);
    let content = [vec![1; MIB], vec![2; 2 * MIB]].concat();
    close(&b, &id, &content).await.unwrap();
}

#[tokio::test]
async fn a_chunk_fits_where_the_session_is_not_where_this_replica_has_seen_it() {
    let (a, b) = replicas().await;
    let id = opened(&a).await;
    b.append(&id, None, "one ").await.unwrap();

    let again = a.append(&id, ContentRange::of(0, 4), "one ").await;
    let next = a.append(&id, ContentRange::of(4, 3), "two").await;

    assert!(
        matches!(again, Err(Error::ChunkOutOfOrder { offset: 4, .. })),
        "{again:?}"
    );
    assert_eq!(next.unwrap(), 7);
}

#[tokio::test]
async fn a_session_is_closed_with_the_bytes_that_another_replica_has_received() {
    for last in ["", "two"] {
        let (a, b) = replicas().await;
        let id = opened(&a).await;
        a.append(&id, None, "one ").await.unwrap();
        b.append(&id, None, "more ").await.unwrap();

        let content = format!("one more {last}");
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let closed = a.close(&id, &digest, None, last).await;

        assert_eq!(closed.unwrap().size, content.len() as u64);
    }
}

/// Counts the questions about blobs.
#[derive(Debug, Default)]
struct Asked(AtomicUsize);

#[async_trait]
impl Hooks for Asked {
    async fn before_add_blob(&self, _: &Context, _: &Digest, _: u64) -> Result<(), HookError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_close_that_reads_the_session_again_asks_once_about_the_blob() {
    let location = Location::memory();
    let asked = Arc::new(Asked::default());
    let hooked = Registry::builder(open(&location).await)
        .hooks(Arc::clone(&asked))
        .build();
    let a = hooked.repository("a").unwrap();
    let b = Registry::builder(open(&location).await)
        .build()
        .repository("a")
        .unwrap();
    let id = opened(&a).await;
    a.append(&id, None, "one").await.unwrap();
    // The bytes are the same, the record is another one.
    b.append(
        &id,
        None,
        BlobSource::stream(futures_util::stream::empty::<std::io::Result<Bytes>>()),
    )
    .await
    .unwrap();

    close(&a, &id, b"one").await.unwrap();

    assert_eq!(asked.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_wrong_digest_ends_the_session() {
    let (a, b) = replicas().await;
    let id = opened(&a).await;
    a.append(&id, None, "one").await.unwrap();

    let closed = close(&a, &id, b"two").await;

    assert!(matches!(closed, Err(Error::DigestMismatch { .. })), "{closed:?}");
    assert!(b.upload(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_another_replica_has_ended_is_unknown() {
    let (a, b) = replicas().await;
    let (cancelled, closed) = (opened(&a).await, opened(&a).await);
    for id in [&cancelled, &closed] {
        a.append(id, None, "one").await.unwrap();
    }
    assert!(b.cancel(&cancelled).await.unwrap());
    close(&b, &closed, b"one").await.unwrap();

    for id in [&cancelled, &closed] {
        let appended = a.append(id, None, "two").await;
        assert!(matches!(appended, Err(Error::UploadUnknown)), "{appended:?}");
    }
    let repeated = close(&a, &cancelled, b"other").await;
    assert!(matches!(repeated, Err(Error::UploadUnknown)), "{repeated:?}");
    // As the answer may have been lost.
    close(&a, &closed, b"one").await.unwrap();
}

#[tokio::test]
async fn the_offset_of_a_session_is_that_of_all_replicas() {
    let (a, b) = replicas().await;
    let id = opened(&a).await;
    b.append(&id, None, "one").await.unwrap();

    assert_eq!(a.upload(&id).await.unwrap().unwrap().offset, 3);
}
