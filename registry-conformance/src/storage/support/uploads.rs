//! The steps of an upload, and their failures.

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

/// Appends once, and returns the running hash if the backend gave it back.
pub(crate) async fn append(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) -> (Result<UploadState>, Option<Hasher>) {
    append_closing(storage, repository, state, body, None).await
}

/// Appends once, and closes if there is a digest to close with. Returns the running hash if the backend gave it back.
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

/// Appends, and asserts success.
pub(crate) async fn appended(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    bytes: &Bytes,
) -> UploadState {
    let (result, _) = append(storage, repository, state, Incoming::whole(bytes)).await;
    result.unwrap()
}

/// Appends, and drops the future once the backend has taken all of `body` and asks for more.
pub(crate) async fn append_and_drop(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) {
    append_closing_and_drop(storage, repository, state, body, None).await;
}

/// Does the same for an append that closes if there is a digest to close with.
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

/// Polls a future up to the wait of that number, counted from 0, and drops it there. Returns its output if it ended
/// before.
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

/// Returns the state of a session, if it exists.
pub(crate) async fn state_of(
    storage: &dyn Storage,
    repository: &RepositoryName,
    id: &UploadId,
) -> Option<UploadState> {
    writer(storage).upload(repository, id).await.unwrap()
}

/// Returns the state of a session once no operation on it is in progress: work that a dropped append left to a thread
/// may end a little later. An append of nothing is refused until then.
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

/// Returns the proof for a session, from its checkpoint, or by hashing it again if the checkpoint does not suffice.
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

/// Proves and commits a session.
pub(crate) async fn close(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: UploadState,
    algorithm: Algorithm,
) -> BlobInfo {
    let (state, proof) = prove(storage, repository, state, algorithm).await;
    writer(storage).commit(repository, state, proof).await.unwrap()
}
