//! A commit publishes exactly what was proved, once, and can be retried.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    hash::Hasher,
    storage::{StorageError, Verified},
};
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn a_commit_ends_the_session(backend: Backend) {
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &content(1, 1000)).await;

    let blob = close(&backend.first, &a, state.clone(), Algorithm::Sha256).await;

    assert_eq!(blob.size, 1000);
    assert!(state_of(backend.sharing(), &a, &state.id).await.is_none());
    let (refused, _) = append(backend.sharing(), &a, &state, Incoming::whole(&content(2, 1))).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
}

pub async fn a_commit_that_is_retried_succeeds(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes).await;
    let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;
    let first = writer(&backend.first)
        .commit(&a, state.clone(), proof.clone())
        .await
        .unwrap();

    for storage in [&backend.first, &backend.second] {
        let again = writer(storage)
            .commit(&a, state.clone(), proof.clone())
            .await
            .unwrap();
        assert_eq!((again.digest, again.size), (first.digest, first.size));
    }
    assert_eq!(read(&backend.second, &a, &first.digest).await, Some(bytes));
}

pub async fn a_commit_of_a_cancelled_session_brings_nothing_back(backend: Backend) {
    let a = repository("a");
    let writer = writer(&backend.first);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &content(1, 1000)).await;
    let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;
    let digest = *proof.digest();
    writer.cancel(&a, &state.id).await.unwrap();

    let refused = writer.commit(&a, state, proof).await;

    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    assert!(!holds(&backend.second, &a, &digest).await);
}

pub async fn the_proof_of_another_session_is_refused(backend: Backend) {
    let a = repository("a");
    let writer = writer(&backend.first);
    let bytes = content(1, 1000);
    let one = open(&backend.first, &a, Algorithm::Sha256).await;
    let one = appended(&backend.first, &a, &one, &bytes).await;
    let other = open(&backend.first, &a, Algorithm::Sha256).await;
    let other = appended(&backend.first, &a, &other, &content(2, 1000)).await;
    let (other, proof) = prove(&backend.first, &a, other, Algorithm::Sha256).await;

    let refused = writer.commit(&a, one.clone(), proof.clone()).await;

    assert!(
        matches!(refused, Err(StorageError::Internal { .. })),
        "{refused:?}"
    );
    assert!(!holds(&backend.second, &a, proof.digest()).await);
    assert!(!holds(&backend.second, &a, &Digest::of(Algorithm::Sha256, &bytes)).await);
    // Both sessions are unchanged.
    let found = state_of(backend.sharing(), &a, &one.id).await.unwrap();
    assert_eq!((found.offset, found.version), (1000, one.version));
    writer.commit(&a, other, proof).await.unwrap();
}

pub async fn a_proof_of_another_size_than_what_is_stored_is_refused(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes).await;
    for claimed in [content(1, 0), content(1, 999), content(1, 1001)] {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&claimed);
        let proof = Verified::from_hasher(state.id, hasher).unwrap();
        let digest = *proof.digest();

        let refused = writer(&backend.first).commit(&a, state.clone(), proof).await;

        assert!(
            matches!(refused, Err(StorageError::Internal { .. })),
            "{refused:?}"
        );
        assert!(
            !holds(&backend.second, &a, &digest).await,
            "{} bytes were claimed",
            claimed.len()
        );
    }
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}

pub async fn writers_that_race_with_the_same_blob_all_succeed(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 300_000);
    let mut race = JoinSet::new();
    for writer in 0..8 {
        let handles = [&backend.first, &backend.second];
        let (storage, a, bytes) = (Arc::clone(handles[writer % 2]), a.clone(), bytes.clone());
        race.spawn(async move {
            let opened = open(&storage, &a, Algorithm::Sha256).await;
            let state = appended(&storage, &a, &opened, &bytes).await;
            let blob = close(&storage, &a, state, Algorithm::Sha256).await;
            // Each acknowledged push is readable at once, while the others still run.
            (opened.id, read(&storage, &a, &blob.digest).await == Some(bytes))
        });
    }

    for (id, whole) in race.join_all().await {
        assert!(whole);
        assert!(state_of(&backend.first, &a, &id).await.is_none());
    }
}

pub async fn of_commits_that_race_for_one_session_one_publishes_it(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 300_000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes).await;
    let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;
    let mut race = JoinSet::new();
    for racer in 0..8 {
        let handles = [&backend.first, backend.sharing()];
        let (storage, a, state, proof) = (
            Arc::clone(handles[racer % 2]),
            a.clone(),
            state.clone(),
            proof.clone(),
        );
        race.spawn(async move { writer(&storage).commit(&a, state, proof).await });
    }

    let results = race.join_all().await;

    let conflict = |error: &StorageError| matches!(error, StorageError::UploadConflict { .. });
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    assert!(
        results
            .iter()
            .flat_map(|result| result.as_ref().err())
            .all(conflict),
        "{results:?}"
    );
    let blob = writer(&backend.first).commit(&a, state, proof).await.unwrap();
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}
