//! Wrappers of a storage pass on exactly the planes that they declare.

use super::{Backend, support::*};
use registry_core::{
    forward_storage,
    storage::{Need, Referring, Storage},
};
use std::sync::Arc;

pub async fn a_shared_storage_is_the_same_storage(backend: Backend) {
    let a = repository("a");
    let shared: Arc<dyn Storage> = Arc::new(Arc::clone(&backend.first));
    assert_eq!(shared.write().is_some(), backend.first.write().is_some());
    assert_eq!(shared.abilities(), backend.first.abilities());
    assert_eq!(shared.inspect().is_some(), backend.first.inspect().is_some());
    assert_eq!(shared.expire().is_some(), backend.first.expire().is_some());
    assert_eq!(shared.collect().is_some(), backend.first.collect().is_some());
    assert_eq!(shared.repair().is_some(), backend.first.repair().is_some());
    assert_eq!(shared.health().is_some(), backend.first.health().is_some());
    assert_eq!(shared.trash().is_some(), backend.first.trash().is_some());

    let bytes = content(1, 1000);
    let blob = push(&*shared, &a, &bytes).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&*shared, &a, image.tagged(&["v1"])).await;

    for storage in [&shared, &backend.second] {
        assert_eq!(read(storage, &a, &blob.digest).await.as_ref(), Some(&bytes));
        assert_eq!(resolve(storage, &a, "v1").await, Some(image.digest()));
    }
}

pub async fn a_wrapper_that_hands_on_no_writing_is_read_only(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    let image = Image::new(1).referring_to(Image::new(2).digest(), "application/vnd.example.signature");
    put(&backend.first, &a, image.tagged(&["v1"])).await;

    let storage: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(&backend.second)));

    assert!(storage.write().is_none());
    assert!(storage.inspect().is_none() && storage.expire().is_none());
    assert!(storage.collect().is_none() && storage.repair().is_none());
    assert!(storage.health().is_none() && storage.trash().is_none());
    assert_eq!(read(&storage, &a, &blob.digest).await, Some(bytes));
    assert_eq!(resolve(&storage, &a, "v1").await, Some(image.digest()));
    assert_eq!(tags(&storage, &a).await, ["v1"]);
    assert_eq!(texts(&storage.repositories(all()).await.unwrap().items), ["a"]);
    let referrers = storage
        .referrers(&a, Referring::new(&Image::new(2).digest()), all())
        .await
        .unwrap();
    assert_eq!(referrers.items.len(), 1);
    assert_eq!(
        storage.holders(&blob.digest, all()).await.unwrap().items,
        backend.second.holders(&blob.digest, all()).await.unwrap().items,
        "handed on like every read"
    );
}

/// A wrapper that forwards reads; the planes are closed by default.
#[derive(Debug)]
struct ReadOnly<S>(S);

impl<S: Storage> Storage for ReadOnly<S> {
    forward_storage! { Storage: self => &self.0 }
}
