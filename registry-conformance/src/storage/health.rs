//! With the means `health`: the condition of the storage.

use super::{Backend, support::*};

pub async fn a_probe_succeeds_and_leaves_nothing_behind(backend: Backend) {
    for storage in [&backend.first, &backend.second] {
        condition(storage).probe().await.unwrap();
    }

    let listed = backend.first.repositories(all()).await.unwrap();
    assert!(listed.items.is_empty());
    if let Some(inspect) = backend.first.inspect() {
        assert!(inspect.blobs(all()).await.unwrap().items.is_empty());
        assert!(inspect.all_repositories(all()).await.unwrap().items.is_empty());
    }
}

pub async fn no_more_is_free_than_there_is(backend: Backend) {
    let space = condition(&backend.first).space().await.unwrap();
    assert!(
        space.is_none_or(|space| space.bytes_free <= space.bytes_total),
        "{space:?}"
    );
}

pub async fn a_storage_that_accepts_uploads_takes_one(backend: Backend) {
    condition(&backend.first).accepts_uploads().await.unwrap();

    let blob = push(&backend.first, &repository("a"), &content(1, 100)).await;

    assert!(holds(&backend.second, &repository("a"), &blob.digest).await);
}
