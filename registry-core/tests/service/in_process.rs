//! Tests of the calls that a host makes without HTTP: sources of blobs, and reads into memory.

use crate::{filled, ruled, wrapped::Wrapped};
use bytes::Bytes;
use futures_core::Stream;
use registry_core::{
    Algorithm, Digest, Error, Identity, Registry,
    auth::Decision,
    protocol::ContentRange,
    service::BlobSource,
    storage::{BlobBody, Content, MemoryStorage},
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

fn registry() -> Registry {
    Registry::builder(MemoryStorage::new()).build()
}

/// Stream of these items.
struct Items<T>(VecDeque<T>);

impl<T> Items<T> {
    fn of(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: Unpin> Stream for Items<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.pop_front())
    }
}

#[tokio::test]
async fn bytes_texts_streams_and_bodies_are_one_blob() {
    let repository = registry().repository("a").unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let pieces = ["con", "", "tent"].map(Ok::<_, Infallible>);
    for source in [
        BlobSource::from(Bytes::from_static(b"content")),
        b"content".to_vec().into(),
        b"content".as_slice().into(),
        String::from("content").into(),
        "content".into(),
        BlobSource::stream(Items::of(pieces)),
        BlobSource::body(String::from("content")),
    ] {
        let debug = format!("{source:?}");

        let pushed = repository.push_blob(source, Some(digest)).await.unwrap();

        assert_eq!((pushed.digest, pushed.size), (digest, 7), "{debug}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_leaves_nothing() {
    let repository = registry().repository("a").unwrap();
    let broken = [Ok("con"), Err(io::Error::other("the source is gone"))];

    let refused = repository
        .push_blob(BlobSource::stream(Items::of(broken)), None)
        .await;

    assert!(matches!(refused, Err(Error::Body(_))), "{refused:?}");
    let digest = Digest::of(Algorithm::Sha256, b"con");
    assert!(repository.blob(&digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_takes_the_same_sources() {
    let repository = registry().repository("a").unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let id = repository.open_upload(Algorithm::Sha256).await.unwrap().id;

    assert_eq!(repository.append(&id, None, "con").await.unwrap(), 3);
    let range = ContentRange::of(3, 4);
    let closed = repository.close(&id, &digest, range, b"tent".to_vec()).await;

    assert_eq!(closed.unwrap().size, 7);
}

#[tokio::test]
async fn a_blob_is_read_into_memory_up_to_a_bound() {
    let repository = registry().repository("a").unwrap();
    let digest = repository.push_blob("content", None).await.unwrap().digest;

    assert_eq!(
        repository.read_blob(&digest, 7).await.unwrap().unwrap(),
        "content"
    );
    let refused = repository.read_blob(&digest, 6).await;
    assert!(
        matches!(refused, Err(Error::BlobTooLarge { limit: 6, .. })),
        "{refused:?}"
    );
    let unknown = Digest::of(Algorithm::Sha256, b"unknown");
    assert_eq!(repository.read_blob(&unknown, 7).await.unwrap(), None);
}

#[tokio::test]
async fn a_read_into_memory_is_decided_as_every_read() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a", "b"]).await;
    let registry = ruled(storage, |who, repository, _| match (who, repository) {
        (Some("ann"), "a") => Decision::Allow,
        (Some("ann"), _) => Decision::DenyHidden,
        _ => Decision::Deny,
    });
    let read = async |name: &str, who: &str| {
        let repository = registry.repository(name).unwrap().as_identity(Identity::new(who));
        repository.read_blob(&crate::digest(), 7).await
    };

    assert_eq!(read("a", "ann").await.unwrap().unwrap(), "{}");
    assert_eq!(read("b", "ann").await.unwrap(), None);
    assert!(matches!(read("a", "bob").await, Err(Error::Denied)));
}

#[tokio::test]
async fn content_of_another_length_than_the_blobs_is_no_blob() {
    for content in ["", "cont", "content and more"] {
        let storage = MemoryStorage::new();
        let host = Registry::builder(storage.clone()).build();
        let pushed = host.repository("a").unwrap().push_blob("content", None).await;
        let digest = pushed.unwrap().digest;
        let wrong = Wrapped::new(storage, move |_, opened| {
            let mut opened = opened?;
            if let Some(read) = &mut opened {
                read.body = BlobBody::Content(Content::bytes(Bytes::from_static(content.as_bytes())));
            }
            Ok(opened)
        });
        let repository = Registry::builder(wrong).build().repository("a").unwrap();

        let read = repository.read_blob(&digest, 1 << 10).await;

        assert!(matches!(read, Err(Error::Storage(_))), "{content:?}: {read:?}");
    }
}
