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
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Listings in pages.
struct Pages {
    memory: Arc<InMemory>,
    /// True if they lose the last key of each page.
    lose: bool,
}

#[async_trait]
impl PaginatedListStore for Pages {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        let directory = Path::from(prefix.unwrap_or_default());
        let mut objects: Vec<_> = self.memory.list(Some(&directory)).try_collect().await?;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let begin: usize = options.page_token.map_or(0, |token| token.parse().unwrap());
        let size = options.max_keys.unwrap();
        let is_last = begin + size >= objects.len();
        let mut objects: Vec<_> = objects.into_iter().skip(begin).take(size).collect();
        if self.lose && !is_last {
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

/// Lists 1,100 objects twice. The first listing lacks the last of the first 1,000. Returns the error.
async fn refused(lose: bool, is_dated: bool) -> Option<String> {
    let memory = Arc::new(InMemory::new());
    let stops = Stops::omitting("d/0999");
    let mut storage = open(&memory, &stops, Reach::Replicas);
    let clients = crate::bucket::Clients {
        pages: Some(Arc::new(Pages {
            memory: Arc::clone(&memory),
            lose,
        })),
        ..clients(&memory, &stops)
    };
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.bucket = Bucket::new(clients, "");
    for number in 0..1100 {
        store.bucket.put(&format!("d/{number:04}"), "x").await.unwrap();
    }
    if is_dated {
        // All of them were there long before the listing.
        let date = httpdate::fmt_http_date(SystemTime::now() + 2 * MARGIN);
        let headers = [(http::header::DATE, date.parse().unwrap())];
        let headers = headers.into_iter().collect();
        store.bucket.observed().answer(&headers, Instant::now());
    }
    let listed = store.list_twice("d").await;
    listed.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_key_that_a_store_loses_where_a_page_ends_is_missed() {
    // Either listing is compared with the other.
    for (lose, is_dated, missed) in [
        (true, false, "d/0549"),
        (true, true, "d/0999"),
        (false, true, "d/0999"),
    ] {
        let refused = refused(lose, is_dated).await.unwrap();
        assert!(refused.contains(missed), "{refused}");
    }
    assert_eq!(refused(false, false).await, None, "the store tells no time");
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
    let later = Some(now.after(2 * MARGIN));
    let [all, some] = [&["d/one", "d/two"][..], &["d/two"]]
        .map(|keys| -> BTreeSet<String> { keys.iter().map(ToString::to_string).collect() });

    assert_eq!(left_out_before(later, &some, &second), Some("d/one"));
    assert_eq!(left_out_before(later, &all, &second), None);
    assert_eq!(
        left_out_before(Some(now), &some, &second),
        None,
        "it came meanwhile"
    );
    let soon = Some(now.after(Duration::from_secs(240)));
    assert_eq!(
        left_out_before(soon, &some, &second),
        None,
        "the node that has it may be behind"
    );
    assert_eq!(left_out_before(None, &some, &second), None);
}
