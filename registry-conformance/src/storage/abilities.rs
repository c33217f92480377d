//! Abilities: a backend has those that it declares, and refuses what needs another one.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{BlobBody, Deletion, Mount, Need, ReadBlob, StorageError, TagExpect},
};

pub async fn all_handles_declare_the_same_abilities(backend: Backend) {
    let declared = backend.first.abilities();
    assert_eq!(backend.second.abilities(), declared);
    push(&backend.first, &repository("a"), &content(1, 100)).await;
    assert_eq!(backend.first.abilities(), declared, "they are constant");
}

pub async fn an_exclusive_backend_is_opened_once(backend: Backend) {
    if !backend.first.abilities().exclusive {
        return;
    }
    match backend.rival() {
        Some(opened) => assert!(!opened, "a second process opened it for writing"),
        None => assert!(
            !backend.restarts(),
            "a backend that can be reopened and declares `exclusive` has `rivalled`"
        ),
    }
}

pub async fn a_condition_on_a_tag_is_kept_or_refused(backend: Backend) {
    let a = repository("a");
    let [before, new] = [1, 2].map(Image::new);
    put(&backend.first, &a, before.tagged(&["v1"])).await;
    let writer = writer(&backend.first);

    let moved = writer
        .put_manifest(&a, new.expecting([("v1", TagExpect::Absent)]))
        .await;
    let deleted = writer
        .delete_tag(&a, &tag("v1"), TagExpect::Is(new.digest()), Deletion::new())
        .await;

    if backend.first.abilities().conditional_tags {
        let (_, error) = moved.unwrap().failed.expect("the tag exists");
        assert!(matches!(error, StorageError::TagConflict { .. }), "{error:?}");
        assert!(
            matches!(deleted, Err(StorageError::TagConflict { .. })),
            "{deleted:?}"
        );
    } else {
        assert!(matches!(moved, Err(StorageError::Unsupported(_))), "{moved:?}");
        assert!(manifest(&backend.first, &a, new.digest()).await.is_none());
        assert!(
            matches!(deleted, Err(StorageError::Unsupported(_))),
            "{deleted:?}"
        );
    }
    assert_eq!(resolve(&backend.second, &a, "v1").await, Some(before.digest()));
}

pub async fn a_session_is_continued_by_every_handle_if_declared(backend: Backend) {
    if !backend.first.abilities().shared_sessions {
        return;
    }
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let seen = state_of(&backend.second, &a, &opened.id).await;
    assert!(seen.is_some(), "the other handle knows the session");

    let state = appended(&backend.second, &a, &opened, &content(1, 1000)).await;
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;

    assert_eq!(
        read(&backend.second, &a, &blob.digest).await,
        Some(content(1, 1000))
    );
}

/// The power cut itself is the backend's own test. What does not even survive the process is not durable.
pub async fn what_is_durable_outlives_its_handles(backend: Backend) {
    if !backend.first.abilities().durable {
        return;
    }
    assert!(
        backend.restarts(),
        "a backend that declares `durable` has `reopening`"
    );
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&backend.first, &a, image.tagged(&["v1"])).await;

    let backend = backend.restarted().await;

    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(bytes));
    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(image.digest()));
}

pub async fn a_blob_is_redirected_if_declared_and_allowed(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1 << 20)).await;
    let body = async |how| {
        let read = backend.second.open_blob(&a, &blob.digest, how).await.unwrap();
        read.unwrap().body
    };

    let streamed = body(ReadBlob::default()).await;
    assert!(
        matches!(streamed, BlobBody::Content(_)),
        "nobody can follow it: {streamed:?}"
    );
    let allowed = body(ReadBlob::default().or_redirect()).await;
    assert_eq!(
        matches!(allowed, BlobBody::Redirect(_)),
        backend.first.abilities().redirects,
        "{allowed:?}"
    );
}

pub async fn declared_holders_are_listed(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    writer(&backend.first)
        .mount(&b, Mount::new(&a, &blob.digest))
        .await
        .unwrap()
        .unwrap();

    let holders = backend.first.holders(&blob.digest, all()).await.unwrap();

    if backend.first.abilities().holders {
        assert_eq!(holders.items, [a, b]);
    }
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let nobody = backend.first.holders(&absent, all()).await.unwrap();
    assert!(nobody.items.is_empty(), "{nobody:?}");
}

pub async fn chunks_of_the_announced_size_and_smaller_ones_are_kept(backend: Backend) {
    let Some(least) = backend.first.abilities().min_chunk else {
        return;
    };
    assert!(least > 0, "without a minimum there is none to announce");
    let a = repository("a");
    let bytes = content(1, usize::try_from(least).unwrap() + 2);
    let (one, rest) = (bytes.slice(..1), bytes.slice(1..));
    let (whole, last) = (rest.slice(..rest.len() - 1), rest.slice(rest.len() - 1..));

    let mut state = open(&backend.first, &a, Algorithm::Sha256).await;
    for chunk in [one, whole, last] {
        state = appended(&backend.first, &a, &state, &chunk).await;
    }
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;

    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}
