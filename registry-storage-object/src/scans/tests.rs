use super::*;
use crate::{
    Location, ObjectStorage,
    bucket::Bucket,
    collect::tests::{Stops, clients, open},
    gate::Reach,
};
use async_trait::async_trait;
use object_store::{
    ListResult, ObjectStore as _,
    list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore},
    memory::InMemory,
    path::Path,
};
use std::sync::Arc;

/// Listings that lose the last key of each page.
struct Losing(Arc<InMemory>);

#[async_trait]
impl PaginatedListStore for Losing {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        let directory = Path::from(prefix.unwrap_or_default());
        let mut objects: Vec<_> = self.0.list(Some(&directory)).try_collect().await?;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let begin: usize = options.page_token.map_or(0, |token| token.parse().unwrap());
        let size = options.max_keys.unwrap();
        let is_last = begin + size >= objects.len();
        let mut objects: Vec<_> = objects.into_iter().skip(begin).take(size).collect();
        if !is_last {
            objects.pop();
        }
        Ok(PaginatedListResult {
            result: ListResult {
                objects,
                common_prefixes: Vec::new(),
                extensions: Default::default(),
            },
            page_token: (!is_last).then(|| (begin + size).to_string()),
        })
    }
}

#[tokio::test]
async fn a_key_that_a_store_loses_where_a_page_ends_is_missed() {
    let memory = Arc::new(InMemory::new());
    // The last of the first 1,000.
    let stops = Stops::omitting("d/0999");
    let mut storage = open(&memory, &stops, Reach::Replicas);
    let clients = crate::bucket::Clients {
        pages: Some(Arc::new(Losing(Arc::clone(&memory)))),
        ..clients(&memory, &stops)
    };
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.bucket = Bucket::new(clients, "");
    for number in 0..1100 {
        store.bucket.put(&format!("d/{number:04}"), "x").await.unwrap();
    }

    let refused = store.list_twice("d").await;
    assert!(
        matches!(refused, Err(StorageError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn only_what_was_there_before_a_listing_is_missed_in_it() {
    let storage = ObjectStorage::options().open(Location::memory()).await.unwrap();
    let store = &storage.store;
    for key in ["d/one", "d/two"] {
        store.bucket.put(key, "x").await.unwrap();
    }
    let second = store.list_twice("d").await.unwrap();
    assert_eq!(second.len(), 2);
    let now = crate::gate::now(&store.bucket);
    let later = Some(now.after(2 * SKEW));
    let [all, some] = [&["d/one", "d/two"][..], &["d/two"]]
        .map(|keys| -> BTreeSet<String> { keys.iter().map(ToString::to_string).collect() });

    assert_eq!(left_out_before(later, &some, &second), Some("d/one"));
    assert_eq!(left_out_before(later, &all, &second), None);
    assert_eq!(
        left_out_before(Some(now), &some, &second),
        None,
        "it came meanwhile"
    );
    assert_eq!(left_out_before(None, &some, &second), None);
}
