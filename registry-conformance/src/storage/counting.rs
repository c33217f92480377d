//! Limits of open upload sessions, for registries on the backend: within one process the count is exact at any time,
//! for every way in which a session ends.

use super::{Backend, support::*};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, Error, Identity, Limits, Registry, Repository, UploadLedger,
    service::BlobSource,
    storage::{Storage, UploadState},
};
use std::sync::Arc;

/// Maximum numbers of open sessions: in a repository, in all, and of one user.
#[derive(Clone, Copy)]
pub(super) struct Bounds(pub(super) usize, pub(super) usize, pub(super) usize);

/// Builds a registry on a handle that counts in this ledger.
pub(super) fn registry(storage: &Arc<dyn Storage>, ledger: &UploadLedger, bounds: Bounds) -> Registry {
    let mut limits = Limits::default();
    let Bounds(in_repository, in_all, of_user) = bounds;
    limits.uploads_in_repository = in_repository;
    limits.uploads = in_all;
    limits.uploads_of_user = of_user;
    limits.blob_bytes = Some(1000);
    Registry::builder(Arc::clone(storage))
        .limits(limits)
        .upload_ledger(ledger.clone())
        .build()
}

pub(super) async fn open_in(registry: &Registry, name: &str) -> Result<UploadState, Error> {
    let repository = registry.repository(name).unwrap();
    repository.open_upload(Algorithm::Sha256).await
}

pub(super) fn is_full<T>(opened: &Result<T, Error>, expected: usize) -> bool {
    matches!(opened, Err(Error::TooManyUploads { limit, .. }) if *limit == expected)
}

pub async fn each_bound_counts_the_sessions_in_its_scope(backend: Backend) {
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(3, 5, 2));
    let as_user = |name: &str, user: &str| {
        let repository = registry.repository(name).unwrap();
        repository.as_identity(Identity::new(user))
    };
    let open = async |repository: Repository| repository.open_upload(Algorithm::Sha256).await;

    open(as_user("a", "ann")).await.unwrap();
    open(as_user("b", "ann")).await.unwrap();
    assert!(is_full(&open(as_user("c", "ann")).await, 2));
    open(as_user("a", "bob")).await.unwrap();
    open_in(&registry, "a").await.unwrap();
    assert!(is_full(&open_in(&registry, "a").await, 3));
    assert!(is_full(&open(as_user("a", "eve")).await, 3));
    open_in(&registry, "b").await.unwrap();
    assert!(is_full(&open_in(&registry, "new").await, 5));

    assert_eq!(ledger.open_uploads(), 5, "what was refused does not count");
}

pub async fn a_session_makes_room_however_it_ends(backend: Backend) {
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(100, 1, 100));
    let a = registry.repository("a").unwrap();
    let bytes = content(1, 100);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let open = async || {
        let opened = a.open_upload(Algorithm::Sha256).await.unwrap();
        assert!(is_full(&a.open_upload(Algorithm::Sha256).await, 1));
        opened.id
    };

    // A session that is closed, and closed again.
    let id = open().await;
    for _ in 0..2 {
        a.close(&id, &digest, None, bytes.clone()).await.unwrap();
        assert_eq!(ledger.open_uploads(), 0);
    }
    // A session that is cancelled, and cancelled again.
    let id = open().await;
    assert!(a.cancel(&id).await.unwrap());
    assert!(!a.cancel(&id).await.unwrap());
    assert_eq!(ledger.open_uploads(), 0);
    // A session that is closed with another digest.
    let id = open().await;
    let other = a.close(&id, &digest, None, content(2, 100)).await;
    assert!(matches!(other, Err(Error::DigestMismatch { .. })));
    // A session that grows beyond the limit of a blob.
    let id = open().await;
    let large = a.append(&id, None, content(1, 1001)).await;
    assert!(matches!(large, Err(Error::BlobTooLarge { .. })));
    // A session that another process ended, found by each call that can notice it.
    let end_elsewhere = async |id| assert!(writer(backend.sharing()).cancel(a.name(), id).await.unwrap());
    let id = open().await;
    end_elsewhere(&id).await;
    assert!(a.upload(&id).await.unwrap().is_none());
    let id = open().await;
    end_elsewhere(&id).await;
    assert!(matches!(
        a.append(&id, None, Bytes::new()).await,
        Err(Error::UploadUnknown)
    ));
    let id = open().await;
    end_elsewhere(&id).await;
    a.close(&id, &digest, None, Bytes::new()).await.unwrap();
    let id = open().await;
    end_elsewhere(&id).await;
    assert!(!a.cancel(&id).await.unwrap());

    assert_eq!(ledger.open_uploads(), 0);
}

pub async fn a_session_that_ends_while_it_is_used_makes_room(backend: Backend) {
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(1, 1, 1));
    let a = registry.repository("a").unwrap();
    let id = open_in(&registry, "a").await.unwrap().id;
    let (body, mut waiting) = Incoming::whole(&content(1, 100)).then_waits();
    let end = async {
        waiting.reached().await;
        assert!(writer(backend.sharing()).cancel(a.name(), &id).await.unwrap());
        waiting.resume();
    };

    let (appended, ()) = tokio::join!(a.append(&id, None, BlobSource::body(body)), end);

    assert!(matches!(appended, Err(Error::UploadUnknown)), "{appended:?}");
    assert_eq!(ledger.open_uploads(), 0);
}

pub async fn a_push_in_one_piece_is_not_refused_and_leaves_no_count(backend: Backend) {
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(0, 0, 0));
    let a = registry.repository("a").unwrap();
    let bytes = content(1, 100);
    let other = Digest::of(Algorithm::Sha256, b"something else");

    a.push_blob(bytes.clone(), None).await.unwrap();
    assert!(a.push_blob(bytes, Some(other)).await.is_err());
    assert!(a.push_blob(content(1, 1001), None).await.is_err());

    assert_eq!(ledger.open_uploads(), 0);
}

pub async fn of_many_that_race_for_the_last_seat_one_opens_a_session(backend: Backend) {
    for bounds in [Bounds(8, 100, 100), Bounds(100, 8, 100), Bounds(100, 100, 8)] {
        let ledger = UploadLedger::new();
        let registries = [
            registry(&backend.first, &ledger, bounds),
            registry(backend.sharing(), &ledger, bounds),
        ];
        let ann = |registry: &Registry| {
            let repository = registry.repository("a").unwrap();
            repository.as_identity(Identity::new("ann"))
        };
        for number in 0..7 {
            let repository = ann(&registries[number % 2]);
            repository.open_upload(Algorithm::Sha256).await.unwrap();
        }

        let racing: Vec<_> = (0..64)
            .map(|number| {
                let repository = ann(&registries[number % 2]);
                tokio::spawn(async move { repository.open_upload(Algorithm::Sha256).await })
            })
            .collect();
        let mut opened = 0;
        for one in racing {
            match one.await.unwrap() {
                Ok(_) => opened += 1,
                refused => assert!(is_full(&refused, 8), "{refused:?}"),
            }
        }

        assert_eq!((opened, ledger.open_uploads()), (1, 8));
    }
}

pub async fn an_opening_that_is_dropped_keeps_no_seat(backend: Backend) {
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(1, 1, 1));
    let a = registry.repository("a").unwrap();
    for wait in 0..8 {
        // A reconciliation finds a session that the storage has opened nevertheless.
        if let Some(opened) = dropped_at(wait, a.open_upload(Algorithm::Sha256)).await {
            assert!(a.cancel(&opened.unwrap().id).await.unwrap());
        }
        assert_eq!(ledger.open_uploads(), 0, "dropped after {wait} waits");
    }
    open_in(&registry, "a").await.unwrap();
}
