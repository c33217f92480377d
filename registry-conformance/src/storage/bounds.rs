//! Bounds on open upload sessions: counted exactly and at once, whichever handle opened them.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest, RepositoryName,
    storage::{NewUpload, Result, Storage, StorageError, UploadBounds, UploadState, Uploader, ingest},
};
use std::{pin::pin, sync::Arc};

async fn open_within(
    storage: &dyn Storage,
    name: &RepositoryName,
    in_repository: usize,
    in_all: usize,
) -> Result<UploadState> {
    let bounds = UploadBounds {
        in_repository,
        in_all,
        ..UploadBounds::NONE
    };
    let new = NewUpload::hashed_by(Algorithm::Sha256).within(bounds);
    writer(storage).open_upload(name, new).await
}

fn is_full<T>(opened: &Result<T>, expected: usize) -> bool {
    matches!(opened, Err(StorageError::TooManyUploads { limit, .. }) if *limit == expected)
}

pub async fn a_repository_has_as_many_sessions_as_allowed(backend: Backend) {
    let (a, b) = (repository("a"), repository("a/b"));
    for _ in 0..2 {
        open_within(&backend.first, &a, 3, 100).await.unwrap();
    }
    open_within(backend.sharing(), &a, 3, 100).await.unwrap();

    assert!(is_full(&open_within(&backend.first, &a, 3, 100).await, 3));
    assert!(is_full(&open_within(backend.sharing(), &a, 3, 100).await, 3));
    assert!(
        open_within(&backend.first, &b, 3, 100).await.is_ok(),
        "another repository"
    );
    assert!(
        open_within(&backend.first, &a, 4, 100).await.is_ok(),
        "a wider bound"
    );
    assert!(is_full(
        &open_within(&backend.first, &repository("new"), 0, 100).await,
        0
    ));
}

pub async fn all_repositories_together_have_as_many_sessions_as_allowed(backend: Backend) {
    for name in ["a", "b", "b/c"] {
        open_within(&backend.first, &repository(name), 100, 3)
            .await
            .unwrap();
    }

    for name in ["a", "d"] {
        assert!(is_full(
            &open_within(backend.sharing(), &repository(name), 100, 3).await,
            3
        ));
    }
    assert!(
        open_within(backend.sharing(), &repository("d"), 100, 4)
            .await
            .is_ok()
    );
}

pub async fn one_uploader_has_as_many_sessions_as_allowed(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let user = |name: &str| Some(Uploader::User(name.into()));
    let network = |last| Some(Uploader::stranger([192, 0, 2, last].into()));
    let open = async |name, uploader| {
        let bounds = UploadBounds {
            of_uploader: 2,
            ..UploadBounds::NONE
        };
        let new = NewUpload::hashed_by(Algorithm::Sha256)
            .within(bounds)
            .by(uploader);
        writer(&backend.first).open_upload(name, new).await
    };
    for uploader in [user("ann"), network(1)] {
        let first = open(&a, uploader.clone()).await.unwrap();
        let second = open(&b, uploader.clone()).await.unwrap();
        assert!(is_full(&open(&a, uploader.clone()).await, 2));

        // However they end, once and for all.
        assert!(writer(backend.sharing()).cancel(&a, &first.id).await.unwrap());
        assert!(!writer(backend.sharing()).cancel(&a, &first.id).await.unwrap());
        let second = appended(backend.sharing(), &b, &second, &content(1, 100)).await;
        close(backend.sharing(), &b, second, Algorithm::Sha256).await;
        for _ in 0..2 {
            open(&b, uploader.clone()).await.unwrap();
        }
        assert!(is_full(&open(&b, uploader).await, 2));
    }
    for other in [user("bob"), network(2), None, None, None] {
        assert!(open(&a, other).await.is_ok());
    }
}

pub async fn a_session_that_ended_makes_room(backend: Backend) {
    let a = repository("a");
    for round in 0..3 {
        let open = async || open_within(&backend.first, &a, 2, 2).await;
        let committed = open().await.unwrap();
        let cancelled = open().await.unwrap();
        assert!(is_full(&open().await, 2), "round {round}");

        let committed = appended(backend.sharing(), &a, &committed, &content(round, 100)).await;
        close(backend.sharing(), &a, committed, Algorithm::Sha256).await;
        assert!(writer(backend.sharing()).cancel(&a, &cancelled.id).await.unwrap());
        // What has ended already frees nothing.
        assert!(!writer(backend.sharing()).cancel(&a, &cancelled.id).await.unwrap());

        let last = open().await.unwrap();
        let other = open().await.unwrap();
        assert!(is_full(&open().await, 2), "round {round}");
        for ended in [last, other] {
            assert!(writer(&backend.first).cancel(&a, &ended.id).await.unwrap());
        }
        // A push in one piece is a session, too, and leaves none behind, however it ends.
        let wrong = Digest::of(Algorithm::Sha256, b"something else");
        let body = pin!(Incoming::whole(&content(round, 100)));
        assert!(
            ingest(writer(&backend.first), &a, body, Some(wrong))
                .await
                .is_err()
        );
    }
}

pub async fn of_many_opened_at_once_as_many_as_allowed_succeed(backend: Backend) {
    let opening: Vec<_> = (0..24)
        .map(|number| {
            let handle = Arc::clone(if number % 2 == 0 {
                &backend.first
            } else {
                backend.sharing()
            });
            tokio::spawn(async move { open_within(&handle, &repository("a"), 5, 100).await })
        })
        .collect();

    let mut opened = 0;
    for one in opening {
        match one.await.unwrap() {
            Ok(_) => opened += 1,
            Err(refused) => assert!(is_full::<()>(&Err(refused), 5)),
        }
    }

    assert_eq!(opened, 5);
}
