//! Indexes of names in memory: the tags of large repositories, and all repositories.
//!
//! An index is made by one scan, and brought up to date for each page by the [notes](crate::changes) since. It holds all names
//! in byte order, so that the position of a page does not matter. A page shows each name whose creation was acknowledged
//! before the page was asked for, by whichever replica, and none whose removal was.
//!
//! Other programs write no notes. What registry:2 wrote before this process began is found by the scan.
//!
//! Requests for a page:
//!
//! - Tags of a repository with at most 1,000 links: 1. There is no index.
//! - Tags of a larger one: 1 to 3, and 1 for each tag that is not settled. The first page of this process, and the first
//!   after [`IDLE`] parts of time without one: N / 1,000 for N links. A tag has 1 link, and 1 for each manifest that it
//!   ever pointed at.
//! - Repositories: 1 to 3, and 2 for each one that is not settled. The first page of this process: N / 1,000 for N
//!   repositories, 1 for each directory of their names, and 1 for each repository.

use crate::{
    bucket::StoreTime,
    gate::now,
    keys,
    names::{Index, Shared},
    noted::{Change, Slot},
    scans::{Holding, at_once},
    store::Store,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use registry_core::{RepositoryName, Tag, storage::Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{MappedMutexGuard, MutexGuard},
    time::Instant,
};

/// Number of parts of time without a page after which an index is made again.
const IDLE: u64 = 64;

/// Number of names above which a scan is cheaper than a look at each.
const LOOKS: usize = 500;

/// Time by which the clocks of two servers of a store may differ.
const SKEW: Duration = Duration::from_secs(120);

/// Names that an index holds.
pub(crate) trait Subject: Sync {
    type Name: Ord + Clone + Send + Sync + 'static;

    /// Returns the directory of the notes of a part of time.
    fn changes(&self, slot: Slot) -> String;

    fn parse(&self, text: &str) -> Option<Self::Name>;

    /// Returns all names.
    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<Self::Name>>>;

    /// Returns true if there is such a name.
    fn look<'a>(&'a self, store: &'a Store, name: &'a Self::Name) -> BoxFuture<'a, Result<bool>>;
}

/// The tags of a repository.
pub(crate) struct TagsOf<'r>(pub(crate) &'r RepositoryName);

impl Subject for TagsOf<'_> {
    type Name = Tag;

    fn changes(&self, slot: Slot) -> String {
        keys::tag_changes(slot.0, self.0)
    }

    fn parse(&self, text: &str) -> Option<Tag> {
        Tag::parse(text).ok()
    }

    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<Tag>>> {
        store.scan_tags(self.0).boxed()
    }

    fn look<'a>(&'a self, store: &'a Store, tag: &'a Tag) -> BoxFuture<'a, Result<bool>> {
        async move {
            let link = store.bucket.head(&keys::tag(self.0, tag)).await?;
            Ok(link.is_some_and(|link| link.size > 0))
        }
        .boxed()
    }
}

/// All repositories.
pub(crate) struct Repositories;

impl Subject for Repositories {
    type Name = RepositoryName;

    fn changes(&self, slot: Slot) -> String {
        keys::repository_changes(slot.0)
    }

    fn parse(&self, text: &str) -> Option<RepositoryName> {
        keys::of_flat(text)
    }

    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<RepositoryName>>> {
        async move {
            let (mut names, walked) = tokio::try_join!(
                store.marked_repositories(),
                store.walk_repositories(Holding::Manifests)
            )?;
            names.extend(walked);
            Ok(names)
        }
        .boxed()
    }

    fn look<'a>(&'a self, store: &'a Store, name: &'a RepositoryName) -> BoxFuture<'a, Result<bool>> {
        store.exists(name).boxed()
    }
}

impl Store {
    /// Returns the names of an index, up to date.
    pub(crate) async fn current<'i, S: Subject>(
        &self,
        index: &'i Shared<S::Name>,
        subject: &S,
    ) -> Result<MappedMutexGuard<'i, BTreeSet<S::Name>>> {
        let asked = Instant::now();
        let mut index = index.0.lock().await;
        let is_current = match &mut *index {
            // It was brought up to date for another page.
            Some(index) => index.looked > asked || index.sync(self, subject).await?,
            None => false,
        };
        if !is_current {
            *index = None;
            *index = Some(Index::scan(self, subject).await?);
        }
        Ok(MutexGuard::map(index, |index| {
            let index = index.as_mut().expect("it was made just now");
            &mut index.names
        }))
    }
}

impl<K: Ord + Clone + Send + Sync + 'static> Index<K> {
    async fn scan(store: &Store, subject: &impl Subject<Name = K>) -> Result<Self> {
        let (looked, synced) = (Instant::now(), now(&store.bucket));
        let names = subject.scan(store).await?;
        Ok(Self {
            names,
            synced,
            settled: BTreeMap::new(),
            looked,
        })
    }

    /// Reads the notes. Returns false if another scan is cheaper, or notes may be missing.
    async fn sync(&mut self, store: &Store, subject: &impl Subject<Name = K>) -> Result<bool> {
        let (looked, began) = (Instant::now(), now(&store.bucket));
        let Some(notes) = self.notes(store, subject).await? else {
            return Ok(false);
        };
        // Two kinds of notes of a name at once say nothing.
        let mut changes: BTreeMap<K, (bool, bool)> = BTreeMap::new();
        for note in &notes {
            if self.settled.get(&note.key) != Some(&note.written) {
                let (comes, goes) = changes.entry(note.name.clone()).or_default();
                *comes |= note.change == Change::Comes;
                *goes |= note.change == Change::Goes;
            }
        }
        changes.retain(|name, (comes, goes)| comes == goes || self.names.contains(name) != *comes);
        if changes.len() > LOOKS {
            return Ok(false);
        }
        let looks = changes.keys().map(|name| subject.look(store, name));
        let found = at_once(looks).await?;
        for (name, is_there) in changes.into_keys().zip(found) {
            match is_there {
                true => self.names.insert(name),
                false => self.names.remove(&name),
            };
        }
        let is_settled = |note: &Note<K>| StoreTime::of(note.written).after(store.settled()) < began;
        let settled = notes.into_iter().filter(is_settled);
        self.settled = settled.map(|note| (note.key, note.written)).collect();
        (self.looked, self.synced) = (looked, began);
        Ok(true)
    }

    /// Returns all notes that may say something new, or `None` if they are too many.
    async fn notes(&self, store: &Store, subject: &impl Subject<Name = K>) -> Result<Option<Vec<Note<K>>>> {
        let mut first = Slot::of(self.synced.before(store.settled() + SKEW));
        let mut notes = Vec::new();
        loop {
            // The answers tell the time, which may be later than what was known.
            let last = Slot::of(now(&store.bucket).after(SKEW));
            if first > last {
                return Ok(Some(notes));
            }
            if first.distance(last) > IDLE {
                return Ok(None);
            }
            let lists = first.until(last).map(|slot| {
                let directory = subject.changes(slot);
                async move { Ok((store.list_all(&directory).await?, directory)) }.boxed()
            });
            for (objects, directory) in at_once(lists).await? {
                notes.extend(objects.into_iter().filter_map(|object| {
                    let (comes, text) = keys::changed(&directory, &object.key)?;
                    Some(Note {
                        name: subject.parse(text)?,
                        change: if comes { Change::Comes } else { Change::Goes },
                        written: object.modified,
                        key: object.key,
                    })
                }));
            }
            first = last.next();
        }
    }
}

struct Note<K> {
    key: String,
    name: K,
    change: Change,
    /// By the store's clock.
    written: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, ObjectStorage};
    use registry_core::{
        Algorithm, Digest,
        storage::{Page, Storage as _},
    };

    /// Two replicas on one bucket.
    async fn open() -> (ObjectStorage, ObjectStorage) {
        let location = Location::memory();
        let open = || ObjectStorage::options().index_all().open(location.clone());
        (open().await.unwrap(), open().await.unwrap())
    }

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    fn tag(text: &str) -> Tag {
        Tag::parse(text).unwrap()
    }

    /// Creates a tag, without a note.
    async fn put(storage: &ObjectStorage, text: &str) {
        let digest = Digest::of(Algorithm::Sha256, b"x").to_string();
        let key = keys::tag(&name("a"), &tag(text));
        storage.store.bucket.put(&key, digest).await.unwrap();
    }

    async fn note(storage: &ObjectStorage, text: &str, change: Change) {
        let store = &storage.store;
        let view = store.gate.view(&store.bucket).await.unwrap();
        store
            .note_tag(&name("a"), &tag(text), change, &view)
            .await
            .unwrap();
    }

    async fn remove(storage: &ObjectStorage, text: &str) {
        let key = keys::tag(&name("a"), &tag(text));
        storage.store.bucket.delete(&key).await.unwrap();
    }

    async fn tags(storage: &ObjectStorage) -> Vec<String> {
        let listed = storage.tags(&name("a"), Page::first(100)).await.unwrap();
        // Without anything in it, the repository does not exist.
        let listed = listed.unwrap_or_default();
        listed.items.iter().map(ToString::to_string).collect()
    }

    async fn repositories(storage: &ObjectStorage) -> Vec<String> {
        let listed = storage.repositories(Page::first(100)).await.unwrap();
        listed.items.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn what_another_replica_has_noted_is_on_the_next_page() {
        let (one, two) = open().await;
        put(&one, "v1").await;
        assert_eq!(tags(&one).await, ["v1"]);
        put(&two, "foreign").await;
        assert_eq!(tags(&one).await, ["v1"], "the tags are not listed again");

        note(&two, "v2", Change::Comes).await;
        assert_eq!(tags(&one).await, ["v1"], "it may come later, or never");
        put(&two, "v2").await;
        assert_eq!(tags(&one).await, ["v1", "v2"]);

        note(&two, "v1", Change::Goes).await;
        assert_eq!(tags(&one).await, ["v1", "v2"]);
        remove(&two, "v1").await;
        assert_eq!(tags(&one).await, ["v2"]);
        assert_eq!(tags(&two).await, ["foreign", "v2"], "by its own scan");
    }

    #[tokio::test]
    async fn the_later_one_of_two_changes_counts_whatever_their_notes() {
        let (one, two) = open().await;
        put(&one, "v1").await;
        assert_eq!(tags(&one).await, ["v1"]);
        note(&two, "v1", Change::Goes).await;
        remove(&two, "v1").await;
        assert!(tags(&one).await.is_empty());
        note(&two, "v1", Change::Comes).await;
        put(&two, "v1").await;
        assert_eq!(tags(&one).await, ["v1"]);
        // Noted long ago.
        remove(&two, "v1").await;
        assert!(tags(&one).await.is_empty());
    }

    #[tokio::test]
    async fn a_note_of_what_did_not_happen_changes_nothing() {
        let (one, two) = open().await;
        put(&one, "v1").await;
        for _ in 0..2 {
            note(&two, "v1", Change::Goes).await;
            note(&two, "v2", Change::Comes).await;
            assert_eq!(tags(&one).await, ["v1"]);
        }
    }

    #[tokio::test]
    async fn many_notes_or_a_long_time_make_the_index_anew() {
        let (one, two) = open().await;
        put(&one, "v1").await;
        assert_eq!(tags(&one).await, ["v1"]);
        for number in 0..=LOOKS {
            note(&two, &format!("never-{number}"), Change::Comes).await;
        }
        put(&two, "v2").await;
        assert_eq!(tags(&one).await, ["v1", "v2"]);

        let repository = name("a");
        let (one, index) = (&one.store, one.store.indexes.tags_of(&repository).unwrap());
        let long = Duration::from_secs(IDLE * 1000);
        let rewind = |index: &mut Option<Index<Tag>>| {
            let index = index.as_mut().unwrap();
            index.synced = index.synced.before(long);
        };
        rewind(&mut *index.0.lock().await);
        put(&two, "v3").await;
        let current = one.current(&index, &TagsOf(&repository)).await.unwrap();
        assert_eq!(current.len(), 3);
    }

    #[tokio::test]
    async fn notes_that_no_index_reads_are_removed() {
        let (one, two) = open().await;
        let (one, bucket) = (&one.store, &one.store.bucket);
        put(&two, "v1").await;
        let repository = name("a");
        let old = Slot::of(now(bucket).before(Duration::from_secs(300_000)));
        let old_note = keys::change(&keys::tag_changes(old.0, &repository), true, "v1");
        bucket.put(&old_note, "").await.unwrap();
        note(&two, "v1", Change::Comes).await;

        one.trim_changes().await.unwrap();

        assert!(bucket.head(&old_note).await.unwrap().is_none());
        assert_eq!(
            one.list_all(keys::CHANGES).await.unwrap().len(),
            1,
            "the new one stays"
        );
    }

    #[tokio::test]
    async fn repositories_come_and_go_for_every_replica() {
        let (one, two) = open().await;
        assert!(repositories(&one).await.is_empty());
        let store = &two.store;
        let view = store.gate.view(&store.bucket).await.unwrap();
        for text in ["a/b", "a-b"] {
            store.note_repository(&name(text), &view).await.unwrap();
        }
        assert_eq!(repositories(&one).await, ["a-b", "a/b"]);

        let link = keys::revision(&name("a/b"), &Digest::of(Algorithm::Sha256, b"x"));
        store.bucket.put(&link, "").await.unwrap();
        for (text, expected) in [("a/b", false), ("a-b", true)] {
            let forgotten = store.forget_repository(&name(text), None).await.unwrap();
            assert_eq!(forgotten, expected, "{text}");
        }
        assert_eq!(repositories(&one).await, ["a/b"]);

        // It is noted again, although it was a moment ago.
        store.note_repository(&name("a-b"), &view).await.unwrap();
        assert_eq!(repositories(&one).await, ["a-b", "a/b"]);
    }
}
