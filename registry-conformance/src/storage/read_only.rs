//! With the means `read_only`: a handle that changes nothing, also through its other planes.

use super::{Backend, support::*};
use registry_core::{
    Algorithm,
    maintenance::{expire_empty_uploads, expire_uploads},
    storage::{Checked, Evidence, Need, QuarantineId, Record, Seen, StorageError},
};
use std::time::{Duration, SystemTime};

pub async fn a_read_only_handle_reads_all_and_writes_nothing(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&backend.first, &a, image.tagged(&["v1"])).await;

    let reader = backend.read_only();

    assert!(reader.write().is_none());
    assert_eq!(read(&reader, &a, &blob.digest).await, Some(bytes));
    assert_eq!(resolve(&reader, &a, "v1").await, Some(image.digest()));
    assert_eq!(tags(&reader, &a).await, ["v1"]);
    assert_eq!(texts(&reader.repositories(all()).await.unwrap().items), ["a"]);
}

pub async fn a_read_only_handle_finds_damage_and_repairs_nothing(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let reader = backend.read_only();
    let Some(repair) = reader.repair() else {
        return;
    };

    let checked = repair.check(&blob.digest).await.unwrap();

    assert!(matches!(checked, Checked::Sound { .. }), "{checked:?}");
    assert!(repair.faults(&a, all()).await.unwrap().items.is_empty());
    let evidence = Evidence::new(blob.digest, "here", "made up", "");
    let id = QuarantineId::new(blob.digest, 1);
    for refused in [
        repair.quarantine(evidence).await.map(drop),
        repair.remove_quarantined(&id).await.map(drop),
        repair.mend(&a, &Record::Blob(blob.digest)).await.map(drop),
        repair.save_progress(Vec::new()).await,
    ] {
        assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    }
    assert!(holds(&backend.first, &a, &blob.digest).await);
}

pub async fn a_read_only_handle_ends_no_session(backend: Backend) {
    let a = repository("a");
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let begun = appended(&backend.first, &a, &opened, &content(1, 100)).await;
    let empty = open(&backend.first, &a, Algorithm::Sha256).await;

    let reader = backend.read_only();

    assert!(reader.expire().is_none(), "only who writes ends sessions");
    if let Some(inspect) = reader.inspect() {
        let uploading = inspect.uploading(all()).await.unwrap().items;
        assert_eq!(uploading, [Seen::Whole(a.clone())]);
        let listed = inspect.uploads(&a, all()).await.unwrap().items;
        assert_eq!(listed.len(), 2, "listings stay open");
    }
    let later = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    for refused in [
        expire_uploads(&reader, later).await,
        expire_empty_uploads(&reader, later).await,
    ] {
        assert!(
            matches!(refused, Err(StorageError::Unsupported(_))),
            "{refused:?}"
        );
    }
    for id in [begun.id, empty.id] {
        assert!(state_of(&backend.first, &a, &id).await.is_some());
    }
    assert_eq!(
        appended(&backend.first, &a, &begun, &content(2, 100))
            .await
            .offset,
        200,
        "the owner goes on with it"
    );
}
