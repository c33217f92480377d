use super::*;
use crate::{
    Location, ObjectStorage,
    bucket::Bucket,
    collect::tests::{Stops, clients, open},
    gate::Reach,
};
use async_trait::async_trait;
use object_store::{
    ListResult, ObjectStore as _, ObjectStoreExt as _,
    list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore},
    memory::InMemory,
    path::Path,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Listings in pages.
struct Pages {
    memory: Arc<InMemory>,
    loss: Loss,
    /// Number of pages.
    pages: AtomicUsize,
}

/// Treatment of the last key of each page.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    None,
    /// It is left out.
    LeftOut,
    /// It is left out of the first listing.
    LeftOutOnce,
    /// It is left out, since it is removed, and written again afterwards.
    Rewritten,
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
        let is_lossy = match self.loss {
            Loss::None => false,
            Loss::LeftOutOnce => self.pages.fetch_add(1, Ordering::Relaxed) == 0,
            Loss::LeftOut | Loss::Rewritten => true,
        };
        if is_lossy
            && !is_last
            && let Some(lost) = objects.pop()
            && self.loss == Loss::Rewritten
        {
            self.memory.put(&lost.location, "y".into()).await?;
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

/// Lists 1,100 objects twice. The first listing lacks `omitted`.
async fn listed(omitted: &'static str, loss: Loss, is_dated: bool) -> Result<Vec<Meta>> {
    let memory = Arc::new(InMemory::new());
    let stops = Stops::omitting(omitted);
    let mut storage = open(&memory, &stops, Reach::Replicas);
    let clients = crate::bucket::Clients {
        pages: Some(Arc::new(Pages {
            memory: Arc::clone(&memory),
            loss,
            pages: AtomicUsize::default(),
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
    store.list_twice("d").await
}

#[tokio::test]
async fn a_key_that_a_store_loses_where_a_page_ends_is_missed() {
    // Either listing is compared with the other.
    for (loss, is_dated, missed) in [
        (Loss::LeftOut, false, "d/0549"),
        (Loss::LeftOut, true, "d/0999"),
        (Loss::None, true, "d/0999"),
    ] {
        let refused = listed("d/0999", loss, is_dated).await.unwrap_err().to_string();
        assert!(refused.contains(missed), "{refused}");
    }
    let untimed = listed("d/0999", Loss::None, false).await;
    assert_eq!(untimed.unwrap().len(), 1100, "the store tells no time");
}

#[tokio::test]
async fn a_key_that_was_removed_and_written_again_meanwhile_is_listed() {
    // The one with other content, the other within a second.
    for loss in [Loss::Rewritten, Loss::LeftOutOnce] {
        let listed = listed("none", loss, true).await.unwrap();
        let keys: BTreeSet<&str> = listed.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys.len(), 1100);
        assert!(keys.contains("d/0549"));
    }
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
    let [all, some] = [&["d/one", "d/two"][..], &["d/two"]].map(|keys| {
        let listed = second.iter().filter(|object| keys.contains(&object.key.as_str()));
        by_key(listed.cloned().collect())
    });

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
