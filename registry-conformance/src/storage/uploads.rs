//! Upload sessions: compare-and-append, one at a time, sealed by a rehash, ended by a cancel.

use super::{Backend, support::*};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest,
    hash::Hasher,
    storage::{NewUpload, StorageError, Uploader, Verified},
    upload_id::UploadId,
};
use std::sync::Arc;

pub async fn a_session_begins_at_0_with_the_announced_algorithm(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        let opened = open(&backend.first, &a, algorithm).await;

        let found = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
        for state in [&opened, &found] {
            let checkpoint = state.checkpoint.as_ref().unwrap();
            assert_eq!(state.offset, 0);
            assert_eq!((checkpoint.algorithm(), checkpoint.offset()), (algorithm, 0));
        }
        assert_eq!((opened.id, opened.version), (found.id, found.version));
    }
}

pub async fn sessions_have_different_ids(backend: Backend) {
    let a = repository("a");
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(open(&backend.first, &a, Algorithm::Sha256).await.id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

pub async fn a_session_has_its_uploader(backend: Backend) {
    let a = repository("a");
    for uploader in [Some(Uploader::user("ann")), None] {
        let new = NewUpload::hashed_by(Algorithm::Sha256).by(uploader.clone());
        let opened = writer(&backend.first).open_upload(&a, new).await.unwrap();
        let found = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
        let added = appended(backend.sharing(), &a, &found, &content(1, 100)).await;
        for state in [opened, found, added] {
            assert_eq!(state.opened_by, uploader);
        }
    }
}

pub async fn a_session_that_was_never_opened_is_unknown(backend: Backend) {
    let a = repository("a");
    let mut state = open(&backend.first, &a, Algorithm::Sha256).await;
    state.id = UploadId::from_random([7; 16]);
    let proof = Verified::from_hasher(state.id, Hasher::new(Algorithm::Sha256)).unwrap();
    let writer = writer(&backend.first);

    assert!(state_of(&backend.first, &a, &state.id).await.is_none());
    assert!(!writer.cancel(&a, &state.id).await.unwrap());
    let (refused, _) = append(&backend.first, &a, &state, Incoming::default()).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    let refused = writer
        .rehash(&a, state.clone(), Hasher::new(Algorithm::Sha256))
        .await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    let refused = writer.commit(&a, state, proof).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
}

pub async fn appends_add_up_and_offset_and_checkpoint_agree(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 700_000);
    for algorithm in Algorithm::ALL {
        let mut state = open(&backend.first, &a, algorithm).await;
        let mut rest = bytes.clone();
        for len in [1, 300_000, 0, 399_999] {
            state = appended(&backend.first, &a, &state, &rest.split_to(len)).await;

            let found = state_of(backend.sharing(), &a, &state.id).await.unwrap();
            assert_eq!(state.offset, (bytes.len() - rest.len()) as u64);
            for state in [&state, &found] {
                let checkpoint = state
                    .checkpoint
                    .as_ref()
                    .expect("in one process the checkpoint counts");
                assert_eq!(checkpoint.offset(), state.offset);
                assert_eq!(checkpoint.algorithm(), algorithm);
            }
            assert_eq!((state.offset, &state.version), (found.offset, &found.version));
        }
        let blob = close(&backend.first, &a, state, algorithm).await;
        assert_eq!(blob.digest, Digest::of(algorithm, &bytes));
        assert_eq!(
            read(&backend.second, &a, &blob.digest).await.as_ref(),
            Some(&bytes)
        );
    }
}

pub async fn the_running_hash_is_given_back_and_proves_the_bytes(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 300_000);
    let opened = open(&backend.first, &a, Algorithm::Sha512).await;

    let (state, hasher) = append(&backend.first, &a, &opened, Incoming::in_chunks(&bytes, 999)).await;

    let proof = Verified::from_hasher(opened.id, hasher.expect("an append gives the hasher back")).unwrap();
    assert_eq!(*proof.digest(), Digest::of(Algorithm::Sha512, &bytes));
    assert_eq!(proof.size(), state.unwrap().offset);
}

pub async fn the_bytes_of_an_open_session_are_not_a_blob(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;

    appended(&backend.first, &a, &opened, &bytes).await;

    assert!(!holds(&backend.first, &a, &Digest::of(Algorithm::Sha256, &bytes)).await);
    assert!(
        backend.first.tags(&a, all()).await.unwrap().is_none(),
        "nor does it make a repository"
    );
}

pub async fn a_session_that_has_moved_on_refuses_and_stays_as_it_is(backend: Backend) {
    let a = repository("a");
    let writer = writer(backend.sharing());
    let bytes = content(1, 1000);
    let stale = open(&backend.first, &a, Algorithm::Sha256).await;
    let current = appended(&backend.first, &a, &stale, &bytes).await;
    let proof = Verified::from_hasher(stale.id, Hasher::new(Algorithm::Sha256)).unwrap();

    let (append, _) = append(backend.sharing(), &a, &stale, Incoming::whole(&content(2, 500))).await;
    let rehash = writer
        .rehash(&a, stale.clone(), Hasher::new(Algorithm::Sha256))
        .await;
    let commit = writer.commit(&a, stale, proof).await;

    let at_1000 = |error: &StorageError| matches!(error, StorageError::UploadConflict { offset: 1000, .. });
    assert!(at_1000(&append.unwrap_err()));
    assert!(at_1000(&rehash.unwrap_err()));
    assert!(at_1000(&commit.unwrap_err()));
    let found = state_of(backend.sharing(), &a, &current.id).await.unwrap();
    assert_eq!(
        (found.offset, found.version),
        (current.offset, current.version.clone())
    );
    // The session is neither sealed nor damaged: it continues, and its content is right.
    let state = appended(&backend.first, &a, &current, &content(3, 10)).await;
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
    let whole: Bytes = [bytes, content(3, 10)].concat().into();
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(whole));
}

pub async fn while_an_append_runs_everything_else_is_refused_at_once(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 600_000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let (body, mut waiting) = Incoming::in_chunks(&bytes, 50_000).then_waits();
    let running = tokio::spawn({
        let (storage, a, opened) = (Arc::clone(&backend.first), a.clone(), opened.clone());
        async move { append(&storage, &a, &opened, body.then(&content(2, 77))).await.0 }
    });
    waiting.reached().await;

    // The first append waits until the test lets it continue, so these answers cannot depend on its end.
    for storage in [&backend.first, backend.sharing()] {
        let seen = state_of(storage, &a, &opened.id).await.unwrap();
        for state in [&opened, &seen] {
            let (refused, _) = append(storage, &a, state, Incoming::whole(&content(9, 9))).await;
            assert!(
                matches!(refused, Err(StorageError::UploadConflict { .. })),
                "{refused:?}"
            );
        }
        let hasher = Hasher::new(Algorithm::Sha512);
        let refused = writer(storage).rehash(&a, seen.clone(), hasher.clone()).await;
        assert!(
            matches!(refused, Err(StorageError::UploadConflict { .. })),
            "{refused:?}"
        );
        let proof = Verified::from_hasher(seen.id, hasher).unwrap();
        let refused = writer(storage).commit(&a, seen, proof).await;
        assert!(
            matches!(refused, Err(StorageError::UploadConflict { .. })),
            "{refused:?}"
        );
    }

    waiting.resume();
    let state = running.await.unwrap().unwrap();
    assert_eq!(state.offset, 600_077);
    let blob = close(backend.sharing(), &a, state, Algorithm::Sha256).await;
    let whole: Bytes = [bytes, content(2, 77)].concat().into();
    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(whole));
}

pub async fn of_two_appends_from_the_same_state_one_lands(backend: Backend) {
    let a = repository("a");
    for seed in 0..10 {
        let opened = open(&backend.first, &a, Algorithm::Sha256).await;
        let attempts = [&backend.first, backend.sharing()].map(|storage| {
            let (storage, a, opened) = (Arc::clone(storage), a.clone(), opened.clone());
            tokio::spawn(async move {
                let body = Incoming::in_chunks(&content(seed, 5000), 500);
                append(&storage, &a, &opened, body).await.0
            })
        });

        let mut landed = Vec::new();
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(state) => landed.push(state),
                Err(error) => assert!(matches!(error, StorageError::UploadConflict { .. }), "{error:?}"),
            }
        }

        assert_eq!(landed.len(), 1);
        assert_eq!(settled(&backend.first, &a, &opened.id).await.offset, 5000);
    }
}

pub async fn a_session_opened_and_fed_by_two_handles_is_closed_by_either(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 500_000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(backend.sharing(), &a, &opened, &bytes.slice(..200_000)).await;
    let state = appended(&backend.first, &a, &state, &bytes.slice(200_000..)).await;

    let blob = close(backend.sharing(), &a, state, Algorithm::Sha256).await;

    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(bytes));
    assert!(state_of(&backend.first, &a, &opened.id).await.is_none());
}

pub async fn a_rehash_feeds_every_byte_in_any_algorithm(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 700_000);
    for (announced, closing) in [
        (Algorithm::Sha256, Algorithm::Sha512),
        (Algorithm::Sha512, Algorithm::Sha256),
    ] {
        let opened = open(&backend.first, &a, announced).await;
        let state = appended(&backend.first, &a, &opened, &bytes.slice(..300_000)).await;
        let state = appended(backend.sharing(), &a, &state, &bytes.slice(300_000..)).await;

        let blob = close(&backend.first, &a, state, closing).await;

        assert_eq!(blob.digest, Digest::of(closing, &bytes));
        assert_eq!(
            read(&backend.second, &a, &blob.digest).await.as_ref(),
            Some(&bytes)
        );
    }
}

pub async fn a_rehash_seals_the_session_and_can_be_repeated(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let writer = writer(&backend.first);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let before = appended(&backend.first, &a, &opened, &bytes).await;

    let hasher = Hasher::new(Algorithm::Sha512);
    let (sealed, _) = writer.rehash(&a, before.clone(), hasher.clone()).await.unwrap();

    assert_eq!((sealed.id, sealed.offset), (before.id, 1000));
    for state in [&before, &sealed] {
        let (refused, _) = append(backend.sharing(), &a, state, Incoming::whole(&content(2, 1))).await;
        let conflict = matches!(refused, Err(StorageError::UploadConflict { offset: 1000, .. }));
        assert!(conflict, "{refused:?}");
    }
    // The process ended between rehash and commit. Another one reads the state and continues.
    let found = state_of(backend.sharing(), &a, &sealed.id).await.unwrap();
    let (state, hasher) = writer.rehash(&a, found, hasher).await.unwrap();
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    let blob = writer.commit(&a, state, proof).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha512, &bytes));
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}

pub async fn a_cancelled_session_is_gone_for_every_handle(backend: Backend) {
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &content(1, 1000)).await;

    assert!(writer(backend.sharing()).cancel(&a, &state.id).await.unwrap());

    assert!(state_of(&backend.first, &a, &state.id).await.is_none());
    let (refused, _) = append(&backend.first, &a, &state, Incoming::whole(&content(2, 1))).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    assert!(!writer(&backend.first).cancel(&a, &state.id).await.unwrap());
}

pub async fn cancelling_one_session_leaves_the_others(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let doomed = open(&backend.first, &a, Algorithm::Sha256).await;
    let other = open(&backend.first, &a, Algorithm::Sha256).await;
    appended(&backend.first, &a, &doomed, &bytes).await;
    let state = appended(&backend.first, &a, &other, &bytes).await;

    writer(&backend.first).cancel(&a, &doomed.id).await.unwrap();

    let blob = close(backend.sharing(), &a, state, Algorithm::Sha256).await;
    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(bytes));
}
