//! The steps of an upload, and what goes wrong with them.

use super::{Incoming, writer};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, RepositoryName, UploadId,
    hash::Hasher,
    storage::{BlobInfo, NewUpload, Result, Storage, StorageError, UploadBody, UploadState, Verified},
};
use std::{future::poll_fn, pin::pin, task::Poll};

pub(crate) async fn open(
    storage: &dyn Storage,
    repository: &RepositoryName,
    algorithm: Algorithm,
) -> UploadState {
    let opened = writer(storage)
        .open_upload(repository, NewUpload::hashed_by(algorithm))
        .await;
    opened.unwrap()
}

/// One append, and the running hash if the backend gave it back.
pub(crate) async fn append(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) -> (Result<UploadState>, Option<Hasher>) {
    append_closing(storage, repository, state, body, None).await
}

/// One append, which is the last if there is a digest to close with, and the running hash if the backend gave it back.
pub(crate) async fn append_closing(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
    closing: Option<Digest>,
) -> (Result<UploadState>, Option<Hasher>) {
    let body = pin!(body);
    let mut upload = UploadBody::new(body, state, closing);
    let result = writer(storage)
        .append(repository, state.clone(), &mut upload)
        .await;
    (result, upload.finish())
}

/// An append that shall succeed.
pub(crate) async fn appended(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    bytes: &Bytes,
) -> UploadState {
    let (result, _) = append(storage, repository, state, Incoming::whole(bytes)).await;
    result.unwrap()
}

/// An append whose future is dropped once the backend has taken all of `body` and asks for more.
pub(crate) async fn append_and_drop(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) {
    append_closing_and_drop(storage, repository, state, body, None).await;
}

/// The same, of an append that is the last if there is a digest to close with.
pub(crate) async fn append_closing_and_drop(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
    closing: Option<Digest>,
) {
    let (body, mut waiting) = body.then_waits();
    tokio::select! {
        biased;
        (result, _) = append_closing(storage, repository, state, body, closing) => {
            panic!("an append ended before its body: {result:?}");
        }
        () = waiting.reached() => {}
    }
}

/// Drives a future to its wait of that number, counted from 0, and drops it there: what it returned if it
/// ended before.
pub(crate) async fn dropped_at<F: Future>(wait: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = wait;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Where a session stands, if there is one.
pub(crate) async fn state_of(
    storage: &dyn Storage,
    repository: &RepositoryName,
    id: &UploadId,
) -> Option<UploadState> {
    writer(storage).upload(repository, id).await.unwrap()
}

/// Where a session stands when nothing is under way any more: what a dropped append left to a thread may end
/// a little later. Found by appending nothing, which is refused until then.
pub(crate) async fn settled(
    storage: &dyn Storage,
    repository: &RepositoryName,
    id: &UploadId,
) -> UploadState {
    loop {
        let state = state_of(storage, repository, id)
            .await
            .expect("the session is there");
        match append(storage, repository, &state, Incoming::default()).await.0 {
            Ok(state) => return state,
            Err(StorageError::UploadConflict { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("an append of nothing failed: {error:?}"),
        }
    }
}

/// The proof for a session, from its checkpoint, or by hashing it again where that is of no use.
pub(crate) async fn prove(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: UploadState,
    algorithm: Algorithm,
) -> (UploadState, Verified) {
    let usable = state
        .checkpoint
        .as_ref()
        .filter(|kept| kept.algorithm() == algorithm && kept.offset() == state.offset);
    let (state, hasher) = match usable {
        Some(checkpoint) => {
            let hasher = Hasher::resume(checkpoint);
            (state, hasher)
        }
        None => {
            let fresh = Hasher::new(algorithm);
            writer(storage).rehash(repository, state, fresh).await.unwrap()
        }
    };
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    (state, proof)
}

/// Proves and commits.
pub(crate) async fn close(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: UploadState,
    algorithm: Algorithm,
) -> BlobInfo {
    let (state, proof) = prove(storage, repository, state, algorithm).await;
    writer(storage).commit(repository, state, proof).await.unwrap()
}
