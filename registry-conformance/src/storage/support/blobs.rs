//! Pushing and reading blobs.

use super::{Incoming, writer};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, Digest, RepositoryName,
    storage::{BlobBody, BlobInfo, BlobRead, Content, IngestError, ReadBlob, Result, Storage, ingest},
};
use std::pin::pin;

pub(crate) async fn try_push(
    storage: &dyn Storage,
    repository: &RepositoryName,
    bytes: &Bytes,
    expected: Digest,
) -> Result<BlobInfo, IngestError> {
    let body = pin!(Incoming::in_chunks(bytes, 100_000));
    ingest(writer(storage), repository, body, Some(expected)).await
}

/// Pushes a blob under its sha256.
pub(crate) async fn push(storage: &dyn Storage, repository: &RepositoryName, bytes: &Bytes) -> BlobInfo {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    try_push(storage, repository, bytes, digest).await.unwrap()
}

pub(crate) async fn holds(storage: &dyn Storage, repository: &RepositoryName, digest: &Digest) -> bool {
    let found = storage.blob(repository, digest).await.unwrap();
    let opened = storage
        .open_blob(repository, digest, ReadBlob::default())
        .await
        .unwrap();
    assert_eq!(found.is_some(), opened.is_some(), "asking and opening disagree");
    found.is_some()
}

/// Returns the whole blob, and asserts that every way of reading returns the same.
pub(crate) async fn read(
    storage: &dyn Storage,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<Bytes> {
    let opened = storage
        .open_blob(repository, digest, ReadBlob::default())
        .await
        .unwrap()?;
    assert_eq!(opened.info.digest, *digest);
    assert_eq!(opened.range, 0..opened.info.size);
    Some(drain(opened).await)
}

/// Returns the bytes of a read; a file that is offered must have the same ones.
pub(crate) async fn drain(read: BlobRead) -> Bytes {
    let BlobBody::Content(content) = read.body else {
        panic!("a redirect that was not allowed");
    };
    let offered = offered(&content);
    let bytes = content.into_stream().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, read.range.end - read.range.start);
    if let Some(offered) = offered {
        assert!(
            offered == bytes,
            "the file that is offered has other bytes than the stream"
        );
    }
    bytes
}

/// Returns the bytes read by the offered handle alone, without moving its position.
#[cfg(unix)]
fn offered(content: &Content) -> Option<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let file = content.file()?;
    let len = file.range.end - file.range.start;
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    file.file.read_exact_at(&mut bytes, file.range.start).unwrap();
    Some(bytes.into())
}

#[cfg(not(unix))]
const fn offered(_: &Content) -> Option<Bytes> {
    None
}
