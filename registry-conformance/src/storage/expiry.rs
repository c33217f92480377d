//! With the means `expire`: abandoned sessions are found, and ended if no client resumes them.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, RepositoryName,
    maintenance::{expire_empty_uploads, expire_uploads},
    storage::{Listing, Page, Seen, StorageError},
};
use std::time::{Duration, SystemTime};

/// Offset into the past or the future that is large enough for any clock and any file system.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub async fn repositories_with_open_sessions_are_listed(backend: Backend) {
    let mut model: Vec<RepositoryName> = ["a", "a-b", "a/b", "a/b/c", "z"].map(repository).to_vec();
    model.sort();
    for name in &model {
        open(&backend.first, name, Algorithm::Sha256).await;
    }
    push(&backend.first, &repository("blob-only"), &content(1, 100)).await;
    put(
        &backend.first,
        &repository("exists"),
        Image::new(1).tagged(&["latest"]),
    )
    .await;
    let ended = open(&backend.first, &repository("ended"), Algorithm::Sha256).await;
    writer(&backend.first)
        .cancel(&repository("ended"), &ended.id)
        .await
        .unwrap();
    let inspect = inspection(&backend.second);

    for (position, limit) in (0..=model.len()).flat_map(|at| [0, 1, 2, 100].map(|limit| (at, limit))) {
        let after = position.checked_sub(1).map(|last| &model[last]);
        let listing = inspect.uploading(Page::first(limit).after(after)).await.unwrap();
        let names: Vec<RepositoryName> = listing.items.into_iter().filter_map(Seen::whole).collect();
        let listing = Listing::new(names, listing.more);
        assert_page(&listing, &model[position..], limit);
    }
}

pub async fn a_session_says_when_it_was_touched(backend: Backend) {
    let a = repository("a");
    // Some file systems store times in whole seconds.
    let before = SystemTime::now() - Duration::from_secs(2);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let added = appended(&backend.first, &a, &opened, &content(1, 100)).await;

    let listed = inspection(&backend.second).uploads(&a, all()).await.unwrap();

    let [Seen::Whole(listed)] = &listed.items[..] else {
        panic!("one session: {listed:?}");
    };
    for state in [&opened, &added, listed] {
        let touched = state.touched.expect("a backend that expires sessions knows when");
        assert!((before..=SystemTime::now() + Duration::from_secs(2)).contains(&touched));
    }
}

pub async fn an_idle_session_expires_and_one_that_moved_on_stays(backend: Backend) {
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let idle = appended(&backend.first, &a, &opened, &content(1, 100)).await;
    let seen = open(&backend.first, &a, Algorithm::Sha256).await;
    let moved_on = appended(&backend.first, &a, &seen, &content(2, 100)).await;
    let expire = expiry(&backend.second);

    assert!(expire.expire_upload(&a, &idle).await.unwrap());
    assert!(!expire.expire_upload(&a, &seen).await.unwrap());

    assert!(state_of(&backend.first, &a, &idle.id).await.is_none());
    assert!(!expire.expire_upload(&a, &idle).await.unwrap(), "it has gone");
    let (unknown, _) = append(&backend.first, &a, &idle, Incoming::whole(&content(1, 1))).await;
    assert!(matches!(unknown, Err(StorageError::UploadUnknown)));
    let blob = close(&backend.first, &a, moved_on, Algorithm::Sha256).await;
    assert_eq!(
        read(&backend.first, &a, &blob.digest).await,
        Some(content(2, 100))
    );
}

pub async fn a_session_that_is_being_added_to_does_not_expire(backend: Backend) {
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let (body, mut waiting) = Incoming::whole(&content(1, 100)).then_waits();
    let expire = async {
        waiting.reached().await;
        let seen = state_of(&backend.second, &a, &opened.id).await.unwrap();
        let expired = expiry(&backend.second).expire_upload(&a, &seen).await.unwrap();
        waiting.resume();
        expired
    };

    let ((added, _), expired) = tokio::join!(append(&backend.first, &a, &opened, body), expire);

    assert!(!expired);
    assert_eq!(added.unwrap().offset, 100);
}

pub async fn idle_sessions_expire_in_every_repository(backend: Backend) {
    let mut opened = Vec::new();
    for name in ["a", "b/c", "b/c", "d"] {
        let name = repository(name);
        let state = open(&backend.first, &name, Algorithm::Sha256).await;
        appended(&backend.first, &name, &state, &content(1, 50)).await;
        opened.push((name, state.id));
    }
    let blob = push(&backend.first, &repository("a"), &content(7, 100)).await;

    let nothing = expire_uploads(&backend.second, SystemTime::now() - DAY)
        .await
        .unwrap();
    assert_eq!((nothing.expired, nothing.open), (0, 4));
    let everything = expire_uploads(&backend.second, SystemTime::now() + DAY)
        .await
        .unwrap();
    assert_eq!(
        (
            everything.expired,
            everything.bytes,
            everything.open,
            everything.failed
        ),
        (4, 200, 0, 0)
    );

    for (name, id) in &opened {
        assert!(state_of(&backend.first, name, id).await.is_none());
    }
    assert!(
        read(&backend.first, &repository("a"), &blob.digest)
            .await
            .is_some()
    );
    let uploading = inspection(&backend.first).uploading(all()).await.unwrap();
    assert!(uploading.items.is_empty());
}

pub async fn sessions_without_a_byte_expire_alone(backend: Backend) {
    let (a, b) = (repository("a"), repository("b/c"));
    let begun = open(&backend.first, &a, Algorithm::Sha256).await;
    appended(&backend.first, &a, &begun, &content(1, 50)).await;
    let empty = [
        (&a, open(&backend.first, &a, Algorithm::Sha256).await.id),
        (&b, open(&backend.first, &b, Algorithm::Sha256).await.id),
    ];

    let fresh = expire_empty_uploads(&backend.second, SystemTime::now() - DAY)
        .await
        .unwrap();
    assert_eq!((fresh.expired, fresh.open), (0, 3));
    let idle = expire_empty_uploads(&backend.second, SystemTime::now() + DAY)
        .await
        .unwrap();
    assert_eq!((idle.expired, idle.bytes, idle.open, idle.failed), (2, 0, 1, 0));

    for (name, id) in &empty {
        assert!(state_of(&backend.first, name, id).await.is_none());
    }
    assert_eq!(state_of(&backend.first, &a, &begun.id).await.unwrap().offset, 50);
}
