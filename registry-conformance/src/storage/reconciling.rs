//! With the means `inspect`: sessions that a registry did not open itself are counted, and those that ended elsewhere
//! are not.

use super::{
    Backend,
    counting::{Bounds, is_full, open_in, registry},
    support::*,
};
use registry_core::{
    Algorithm, Digest, Identity, UploadLedger,
    maintenance::reconcile_uploads,
    storage::{NewUpload, Storage, Uploader},
};
use std::sync::Arc;

async fn reconcile(storage: &Arc<dyn Storage>, ledger: &UploadLedger) {
    reconcile_uploads(&**storage, ledger).await.unwrap();
}

pub async fn what_another_process_opens_and_ends_is_counted(backend: Backend) {
    let (here, there) = (UploadLedger::new(), UploadLedger::new());
    let bounds = Bounds(2, 3, 100);
    let registry_here = registry(&backend.first, &here, bounds);
    let registry_there = registry(backend.sharing(), &there, bounds);
    let first = open_in(&registry_there, "a").await.unwrap();
    let second = open_in(&registry_there, "a").await.unwrap();
    open_in(&registry_here, "b").await.unwrap();
    assert_eq!((here.open_uploads(), there.open_uploads()), (1, 2));

    reconcile(&backend.first, &here).await;
    assert_eq!(here.open_uploads(), 3);
    assert!(is_full(&open_in(&registry_here, "a").await, 2));
    assert!(is_full(&open_in(&registry_here, "b").await, 3));

    let a = registry_here.repository("a").unwrap();
    assert!(a.cancel(&first.id).await.unwrap(), "by whom it was not opened");
    assert_eq!(here.open_uploads(), 2);
    let elsewhere = registry_there.repository("a").unwrap();
    assert!(elsewhere.cancel(&second.id).await.unwrap());
    reconcile(&backend.first, &here).await;
    reconcile(backend.sharing(), &there).await;
    assert_eq!((here.open_uploads(), there.open_uploads()), (1, 1));
}

pub async fn sessions_that_are_found_count_for_their_uploaders(backend: Backend) {
    let a = repository("a");
    for uploader in [Some("ann"), Some("ann"), Some("bob"), None] {
        let uploader = uploader.map(Uploader::user);
        let new = NewUpload::hashed_by(Algorithm::Sha256).by(uploader);
        writer(backend.sharing()).open_upload(&a, new).await.unwrap();
    }
    let ledger = UploadLedger::new();
    let registry = registry(&backend.first, &ledger, Bounds(100, 100, 2));
    let open_as = async |user| {
        let repository = registry.repository("b").unwrap();
        let repository = repository.as_identity(Identity::new(user));
        repository.open_upload(Algorithm::Sha256).await
    };

    reconcile(&backend.first, &ledger).await;

    assert_eq!(ledger.open_uploads(), 4);
    assert!(is_full(&open_as("ann").await, 2));
    open_as("bob").await.unwrap();
    assert!(is_full(&open_as("bob").await, 2));
}

pub async fn counting_beside_openers_is_exact(backend: Backend) {
    const OPENERS: usize = 6;
    let ledger = UploadLedger::new();
    // Each opener has at most one session at a time: a bound that counts one twice, or too long, refuses somebody.
    let bounds = Bounds(OPENERS, OPENERS, OPENERS);
    let openers: Vec<_> = (0..OPENERS)
        .map(|number| {
            let handle = if number % 2 == 0 {
                &backend.first
            } else {
                backend.sharing()
            };
            let a = registry(handle, &ledger, bounds).repository("a").unwrap();
            tokio::spawn(async move {
                for round in 0..20 {
                    let opened = a.open_upload(Algorithm::Sha256).await.unwrap();
                    if round % 2 == 0 {
                        assert!(a.cancel(&opened.id).await.unwrap());
                    } else {
                        let bytes = content(round, 100);
                        let digest = Digest::of(Algorithm::Sha256, &bytes);
                        a.close(&opened.id, &digest, None, bytes).await.unwrap();
                    }
                }
                a.open_upload(Algorithm::Sha256).await.unwrap();
            })
        })
        .collect();

    while openers.iter().any(|opener| !opener.is_finished()) {
        reconcile(&backend.first, &ledger).await;
        tokio::task::yield_now().await;
    }
    for opener in openers {
        opener.await.unwrap();
    }

    assert_eq!(ledger.open_uploads(), OPENERS);
    reconcile(&backend.first, &ledger).await;
    assert_eq!(ledger.open_uploads(), OPENERS);
}
