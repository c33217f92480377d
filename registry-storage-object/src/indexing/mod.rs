//! Indexes of names in memory: the tags of large repositories, and all repositories.
//!
//! An index is made by one scan, and brought up to date for each page by the [notes](crate::changes) since. It holds all names
//! in byte order, so that the position of a page does not matter. A page shows each name whose creation was acknowledged
//! before the page was asked for, by whichever replica, and none whose removal was.
//!
//! Other programs write no notes. What registry:2 wrote before this process began is found by the scan.
//!
//! A listing of all objects of the tags takes long: some stores look at each. Their common prefixes are listed instead, 1,000
//! with one request. What a store says of prefixes is told by the [probe](crate::probe):
//!
//! - A prefix vanishes with its last object. It is taken for the tag, except where a note says that the tag was being
//!   created or removed: a crash may have left the entries of registry:2's list of past targets.
//! - Otherwise, the link of each tag is looked at before a page first shows it. If these are many, all objects are listed.
//!
//! Requests for a page:
//!
//! - Tags of a repository with few links: 1. There is no index.
//! - Tags of a larger one: 1 to 3, 1 for each tag that is being created or removed, and 1 for each tag of the page whose
//!   link has to be looked at, or 1 for 1,000 objects below all tags if that is less. The first page of this process, and the first after [`IDLE`] parts of time without one:
//!   N / 1,000 for N tags, 1, and 1 for each of the last [`IDLE`] parts of time that has notes.
//! - Repositories: 1 to 3, and 2 for each one that is being created or removed. The first page of this process: N / 1,000
//!   for N repositories, 1 for each directory of their names, and 1 for each repository.

use crate::{
    bucket::{MARGIN, StoreTime},
    gate::now,
    keys,
    names::{Index, Seen, Shared},
    noted::{Change, Slot},
    rung::Rung,
    scans::{Holding, at_once},
    store::Store,
    tags::Link,
};

use futures_util::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use registry_core::{
    RepositoryName, Tag,
    storage::{Listing, Page, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Number of parts of time without a page after which an index is made again.
const IDLE: u64 = 64;

/// Number of objects that a listing shows in the time of one look at another object.
const LISTED: usize = 10;

/// Number of parts of time above which those without a note are left out.
const FEW: u64 = 4;

/// Number of names above which a scan is cheaper than a look at each.
const LOOKS: usize = 500;

/// Names that an index holds.
pub(crate) trait Subject: Sync {
    type Name: Ord + Clone + Send + Sync + 'static;

    /// Returns the directory of the notes of a part of time.
    fn changes(&self, slot: Slot) -> String;

    fn parse(&self, text: &str) -> Option<Self::Name>;

    /// Returns all names.
    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeMap<Self::Name, Seen>>>;

    /// Returns all names, each by an object of it.
    fn find_all<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<Self::Name>>>;

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

    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeMap<Tag, Seen>>> {
        async move {
            let directory = keys::tags(self.0);
            let listed = store.bucket.directory(&directory).await?;
            let names = listed.directories.iter();
            let names = names.filter_map(|path| keys::name_in(&directory, path));
            Ok(names
                .filter_map(|name| Some((Tag::parse(name).ok()?, Seen::Prefix)))
                .collect())
        }
        .boxed()
    }

    fn find_all<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<Tag>>> {
        async move {
            let directory = keys::tags(self.0);
            let mut objects = store.bucket.list(&directory);
            let mut tags = BTreeSet::new();
            while let Some(object) = objects.try_next().await? {
                let is_link = object.size > 0;
                tags.extend(keys::current_tag(&directory, &object.key).filter(|_| is_link));
            }
            Ok(tags)
        }
        .boxed()
    }

    fn look<'a>(&'a self, store: &'a Store, tag: &'a Tag) -> BoxFuture<'a, Result<bool>> {
        async move {
            // The link may be missing of a tag that is in a log.
            if store.rung == Rung::Log {
                return Ok(store.pointer(self.0, tag).await?.link != Link::None);
            }
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

    fn scan<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeMap<RepositoryName, Seen>>> {
        async move {
            let (mut names, walked) = tokio::try_join!(
                store.marked_repositories(),
                store.walk_repositories(Holding::Manifests)
            )?;
            names.extend(walked);
            Ok(names.into_iter().map(|name| (name, Seen::Object)).collect())
        }
        .boxed()
    }

    fn find_all<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<BTreeSet<RepositoryName>>> {
        async move { Ok(self.scan(store).await?.into_keys().collect()) }.boxed()
    }

    fn look<'a>(&'a self, store: &'a Store, name: &'a RepositoryName) -> BoxFuture<'a, Result<bool>> {
        store.exists(name).boxed()
    }
}

impl Store {
    /// Returns a page of an index, brought up to date, and the number of its names.
    pub(crate) async fn page_of<S: Subject>(
        &self,
        shared: &Shared<S::Name>,
        subject: &S,
        page: &Page<'_, S::Name>,
    ) -> Result<(Listing<S::Name>, usize)> {
        let asked = Instant::now();
        let mut index = shared.0.lock().await;
        let is_current = match &mut *index {
            // It was brought up to date for another page.
            Some(index) => index.looked > asked || index.sync(self, subject).await?,
            None => false,
        };
        if !is_current {
            *index = None;
            *index = Some(Index::scan(self, subject).await?);
        }
        let index = index.as_mut().expect("it was made just now");
        let listing = index.page(self, subject, page).await?;
        Ok((listing, index.names.len()))
    }
}

impl<K: Ord + Clone + Send + Sync + 'static> Index<K> {
    async fn scan(store: &Store, subject: &impl Subject<Name = K>) -> Result<Self> {
        let (looked, began) = (Instant::now(), now(&store.bucket));
        // All that [`notes`](Self::notes) reads.
        let noted = Duration::from_secs((IDLE - 1) * Slot::SECONDS);
        let noted = noted.saturating_sub(store.settled() + 3 * MARGIN);
        let mut index = Self {
            names: subject.scan(store).await?,
            synced: began.before(noted),
            settled: BTreeMap::new(),
            looked,
        };
        if !index.names.values().any(|seen| *seen == Seen::Prefix) {
            index.synced = began;
            return Ok(index);
        }
        // Among the prefixes are those of tags that were never created, or were removed, if a process has died.
        let notes = index.notes(store, subject).await?.unwrap_or_default();
        index.apply(store, subject, notes, began).await?;
        index.synced = began;
        Ok(index)
    }

    /// Reads the notes. Returns false if another scan is cheaper, or notes may be missing.
    async fn sync(&mut self, store: &Store, subject: &impl Subject<Name = K>) -> Result<bool> {
        let (looked, began) = (Instant::now(), now(&store.bucket));
        let Some(notes) = self.notes(store, subject).await? else {
            return Ok(false);
        };
        if self.news(&notes).len() > LOOKS {
            return Ok(false);
        }
        self.apply(store, subject, notes, began).await?;
        (self.looked, self.synced) = (looked, began);
        Ok(true)
    }

    /// Returns the names that have to be looked at. Two kinds of notes of a name at once say nothing.
    fn news(&self, notes: &[Note<K>]) -> BTreeSet<K> {
        let mut changes: BTreeMap<&K, (bool, bool)> = BTreeMap::new();
        for note in notes {
            if self.settled.get(&note.key) != Some(&note.written) {
                let (comes, goes) = changes.entry(&note.name).or_default();
                *comes |= note.change == Change::Comes;
                *goes |= note.change == Change::Goes;
            }
        }
        let is_known = |name: &K, (comes, goes): (bool, bool)| match self.names.get(name) {
            Some(Seen::Object) => comes && !goes,
            Some(Seen::Prefix) => false,
            None => goes && !comes,
        };
        let news = changes
            .into_iter()
            .filter(|(name, changes)| !is_known(name, *changes));
        news.map(|(name, _)| name.clone()).collect()
    }

    async fn apply(
        &mut self,
        store: &Store,
        subject: &impl Subject<Name = K>,
        notes: Vec<Note<K>>,
        began: StoreTime,
    ) -> Result<()> {
        let news: Vec<K> = self.news(&notes).into_iter().collect();
        self.look_at(store, subject, news).await?;
        let is_settled = |note: &Note<K>| StoreTime::of(note.written).after(store.settled()) < began;
        let settled = notes.into_iter().filter(is_settled);
        self.settled = settled.map(|note| (note.key, note.written)).collect();
        Ok(())
    }

    async fn look_at(
        &mut self,
        store: &Store,
        subject: &impl Subject<Name = K>,
        names: Vec<K>,
    ) -> Result<()> {
        for some in names.chunks(LOOKS) {
            let found = at_once(some.iter().map(|name| subject.look(store, name))).await?;
            for (name, is_there) in some.iter().zip(found) {
                match is_there {
                    true => self.names.insert(name.clone(), Seen::Object),
                    false => self.names.remove(name),
                };
            }
        }
        Ok(())
    }

    /// Returns a page. Looks at names of which only a prefix was seen that may have no object.
    async fn page(
        &mut self,
        store: &Store,
        subject: &impl Subject<Name = K>,
        page: &Page<'_, K>,
    ) -> Result<Listing<K>> {
        let after = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        loop {
            let names = self.names.range((after, Bound::Unbounded));
            if store.prefixes_vanish {
                return Ok(Listing::first(page.limit, names.map(|(name, _)| name.clone())));
            }
            // One name beyond the page shows that there are more.
            let shown = names.take(page.limit.saturating_add(1));
            let unseen = shown.clone().filter(|(_, seen)| **seen == Seen::Prefix);
            let unseen: Vec<K> = unseen.map(|(name, _)| name.clone()).collect();
            if unseen.is_empty() {
                return Ok(Listing::first(page.limit, shown.map(|(name, _)| name.clone())));
            }
            // The object may be missing of a name that is in a log.
            let is_many = unseen.len() > LOOKS && unseen.len() >= self.names.len() / LISTED;
            match is_many && store.rung != Rung::Log {
                true => self.see_all(store, subject).await?,
                false => self.look_at(store, subject, unseen).await?,
            }
        }
    }

    /// Finds out which of the names exist of which only a prefix was seen. Others that come meanwhile are in the notes.
    async fn see_all(&mut self, store: &Store, subject: &impl Subject<Name = K>) -> Result<()> {
        let found = subject.find_all(store).await?;
        self.names
            .retain(|name, seen| *seen == Seen::Object || found.contains(name));
        self.names.values_mut().for_each(|seen| *seen = Seen::Object);
        Ok(())
    }

    /// Returns all notes that may say something new, or `None` if they are too many.
    async fn notes(&self, store: &Store, subject: &impl Subject<Name = K>) -> Result<Option<Vec<Note<K>>>> {
        let mut first = Slot::of(self.synced.before(store.settled() + MARGIN));
        let mut notes = Vec::new();
        loop {
            // The answers tell the time, which may be later than what was known.
            let last = Slot::of(now(&store.bucket).after(MARGIN));
            if first > last {
                return Ok(Some(notes));
            }
            if first.distance(last) > IDLE {
                return Ok(None);
            }
            let slots = noted_slots(store, first, last).await?;
            let lists = slots.into_iter().map(|slot| {
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

/// Returns those of some parts of time that have notes, or all if they are few. What is written meanwhile is of a change that
/// is not acknowledged yet.
async fn noted_slots(store: &Store, first: Slot, last: Slot) -> Result<Vec<Slot>> {
    let slots = first.until(last);
    if first.distance(last) < FEW {
        return Ok(slots.collect());
    }
    let listed = store.bucket.directory(keys::CHANGES).await?.directories;
    let names = listed
        .iter()
        .filter_map(|path| keys::name_in(keys::CHANGES, path));
    let noted: BTreeSet<u64> = names.filter_map(keys::number).collect();
    Ok(slots.filter(|slot| noted.contains(&slot.0)).collect())
}

struct Note<K> {
    key: String,
    name: K,
    change: Change,
    /// By the store's clock.
    written: SystemTime,
}

#[cfg(test)]
mod tests;
