//! [`TagIndexes`]: the tags that may point at a manifest, so that its deletion need not read every tag.
//!
//! The files are authoritative, and this is a list of candidates: each is read before it is removed. It must name
//! every tag that points at the manifest; otherwise a tag without a manifest would be left behind. It can, because
//! this process owns the directory, so that every tag moves through [`moved`](TagIndexes::moved):
//!
//! - An index is built by reading all tags of a repository, when a manifest of it is first deleted.
//! - Each move is recorded while the tag's lock is held, after the file has changed. While an index is being built,
//!   moves are kept beside it and applied to the result. A move recorded before the build begins is in the files that
//!   it reads.
//! - A deletion holds the manifest's lock, which every move of a tag to that manifest needs. So no such move is in
//!   progress.

use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Result, StorageError},
};
use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum memory for the indexes of all repositories, in bytes. The last used one stays, however large it is.
const BOUND: usize = 64 << 20;
/// Approximate memory of an entry beside its text, and of an index beside its entries, in bytes.
const OVERHEAD: usize = 96;

/// A number for a digest, and a tag; `None` sorts before all tags. Two digests may have the same number, since
/// candidates are read.
type Entry = (u64, Option<Tag>);

/// The indexes of the repositories in which manifests were deleted.
#[derive(Debug)]
pub(crate) struct TagIndexes {
    all: Mutex<All>,
    hasher: RandomState,
    bound: usize,
}

#[derive(Debug, Default)]
struct All {
    indexes: HashMap<RepositoryName, Index>,
    /// Memory of all indexes, in bytes.
    bytes: usize,
    /// Number of uses so far.
    used: u64,
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeSet<Entry>,
    /// `None` once it is built.
    building: Option<Building>,
    bytes: usize,
    /// Number of the last use.
    used: u64,
    /// Number of deletions that rely on it.
    leases: usize,
}

/// An index that is being built.
#[derive(Debug)]
struct Building {
    number: u64,
    /// Entries removed during the build.
    removed: BTreeSet<Entry>,
}

/// Keeps an index in memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    indexes: Arc<TagIndexes>,
    repository: RepositoryName,
}

impl Default for TagIndexes {
    fn default() -> Self {
        Self::bounded(BOUND)
    }
}

impl TagIndexes {
    fn bounded(bound: usize) -> Self {
        Self {
            all: Mutex::default(),
            hasher: RandomState::new(),
            bound,
        }
    }

    fn entry(&self, digest: &Digest, tag: &Tag) -> Entry {
        (self.hasher.hash_one(digest), Some(tag.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a tag may point at `to` and no longer at `from`. The caller holds the tag's lock.
    pub(crate) fn moved(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        from: Option<&Digest>,
        to: Option<&Digest>,
    ) {
        if from == to {
            return;
        }
        let mut all = self.lock();
        let All { indexes, bytes, .. } = &mut *all;
        let Some(index) = indexes.get_mut(repository) else {
            return;
        };
        let before = index.bytes;
        if let Some(from) = from {
            index.remove(self.entry(from, tag));
        }
        if let Some(to) = to {
            index.insert(self.entry(to, tag));
        }
        *bytes = *bytes - before + index.bytes;
        all.evict(self.bound);
    }

    /// Returns the index of a repository, if it is built.
    pub(crate) fn lease(self: &Arc<Self>, repository: &RepositoryName) -> Option<Lease> {
        self.lock().lease(repository).then(|| Lease {
            indexes: Arc::clone(self),
            repository: repository.clone(),
        })
    }

    /// Returns the index of a repository. Unless it is built, builds it: `read` passes every tag and its target.
    pub(crate) fn build(
        self: &Arc<Self>,
        repository: &RepositoryName,
        read: impl FnOnce(&mut dyn FnMut(&Tag, &Digest)) -> Result<()>,
    ) -> Result<Lease> {
        if let Some(built) = self.lease(repository) {
            return Ok(built);
        }
        let number = self.begin(repository);
        let mut entries = BTreeSet::new();
        let mut add = |tag: &Tag, digest: &Digest| {
            entries.insert(self.entry(digest, tag));
        };
        match read(&mut add) {
            Ok(()) => self.finish(repository, number, entries).ok_or_else(|| {
                StorageError::internal(format!(
                    "another build of the tag index of {repository} has begun"
                ))
            }),
            Err(error) => {
                self.give_up(repository, number);
                Err(error)
            }
        }
    }

    /// Begins a build, for which moves are kept from now on. Returns the number of the build.
    fn begin(&self, repository: &RepositoryName) -> u64 {
        let mut all = self.lock();
        all.used += 1;
        let number = all.used;
        let index = Index {
            building: Some(Building {
                number,
                removed: BTreeSet::new(),
            }),
            ..Index::default()
        };
        all.forget(repository);
        all.indexes.insert(repository.clone(), index);
        number
    }

    /// Turns the entries that were read into the index, with the moves since the build began.
    fn finish(
        self: &Arc<Self>,
        repository: &RepositoryName,
        number: u64,
        read: BTreeSet<Entry>,
    ) -> Option<Lease> {
        let mut all = self.lock();
        let index = all.indexes.get_mut(repository)?;
        let Building { removed, .. } = index.building.take_if(|building| building.number == number)?;
        let before = index.bytes;
        for entry in read {
            if !removed.contains(&entry) {
                index.insert(entry);
            }
        }
        index.bytes += OVERHEAD + repository.as_str().len();
        let bytes = index.bytes;
        all.bytes = all.bytes - before + bytes;
        // Under the same lock: an unused index would be the first to be evicted.
        let is_leased = all.lease(repository);
        all.evict(self.bound);
        is_leased.then(|| Lease {
            indexes: Arc::clone(self),
            repository: repository.clone(),
        })
    }

    /// Gives up a build.
    fn give_up(&self, repository: &RepositoryName, number: u64) {
        let mut all = self.lock();
        let building = all
            .indexes
            .get(repository)
            .and_then(|index| index.building.as_ref());
        if building.is_some_and(|building| building.number == number) {
            all.forget(repository);
        }
    }
}

impl All {
    /// Counts one more deletion that relies on the index. Returns true if the index is built.
    fn lease(&mut self, repository: &RepositoryName) -> bool {
        self.used += 1;
        let Some(index) = self.indexes.get_mut(repository) else {
            return false;
        };
        if index.building.is_some() {
            return false;
        }
        index.used = self.used;
        index.leases += 1;
        true
    }

    /// Evicts the least recently used indexes until the rest fits.
    fn evict(&mut self, bound: usize) {
        while self.bytes > bound {
            let built = self.indexes.iter().filter(|(_, index)| index.building.is_none());
            let latest = built.clone().map(|(_, index)| index.used).max();
            let oldest = built
                .filter(|(_, index)| index.leases == 0 && Some(index.used) != latest)
                .min_by_key(|(_, index)| index.used)
                .map(|(repository, _)| repository.clone());
            let Some(repository) = oldest else {
                return;
            };
            self.forget(&repository);
        }
    }

    fn forget(&mut self, repository: &RepositoryName) {
        if let Some(index) = self.indexes.remove(repository) {
            self.bytes -= index.bytes;
        }
    }
}

impl Index {
    fn insert(&mut self, entry: Entry) {
        if let Some(building) = &mut self.building {
            building.removed.remove(&entry);
        }
        let bytes = size(&entry);
        if self.entries.insert(entry) {
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, entry: Entry) {
        if self.entries.remove(&entry) {
            self.bytes -= size(&entry);
        }
        if let Some(building) = &mut self.building {
            building.removed.insert(entry);
        }
    }
}

fn size((_, tag): &Entry) -> usize {
    OVERHEAD + tag.as_ref().map_or(0, |tag| tag.as_str().len())
}

impl Lease {
    /// Returns every tag that points at a manifest, and possibly others, in byte order. The caller holds the
    /// manifest's lock.
    pub(crate) fn candidates(&self, digest: &Digest) -> Vec<Tag> {
        let number = self.indexes.hasher.hash_one(digest);
        let all = self.indexes.lock();
        let index = all.indexes.get(&self.repository);
        let entries = index
            .into_iter()
            .flat_map(|index| index.entries.range((number, None)..));
        entries
            .take_while(|(found, _)| *found == number)
            .filter_map(|(_, tag)| tag.clone())
            .collect()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut all = self.indexes.lock();
        if let Some(index) = all.indexes.get_mut(&self.repository) {
            index.leases -= 1;
        }
        all.evict(self.indexes.bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage,
        faults::fail,
        pauses::Point,
        seams,
        store::Store,
        support::{manifest, name, put, tag, writer},
        tags::Origin,
    };
    use registry_core::{
        Algorithm, Storage,
        storage::{Deletion, TagExpect},
    };
    use rustix::io::Errno;
    use std::path::Path;
    use tempfile::TempDir;

    fn digest(seed: &str) -> Digest {
        *manifest(seed).digest()
    }

    /// Opens a repository `a` whose tags `t0` and on point at the manifests `m0` and on, with an empty index.
    async fn tagged(root: &Path, count: usize) -> FsStorage {
        let storage = FsStorage::open(root).unwrap();
        for n in 0..count {
            put(
                &storage,
                &name("a"),
                manifest(&format!("m{n}")),
                &[&format!("t{n}")],
            )
            .await;
        }
        drop(storage);
        FsStorage::open(root).unwrap()
    }

    async fn delete(storage: &FsStorage, seed: &str) -> Option<Vec<String>> {
        let write = writer(storage);
        let gone = write
            .delete_manifest(&name("a"), &digest(seed), Deletion::new())
            .await
            .unwrap();
        gone.map(|gone| gone.iter().map(|tag| tag.as_str().to_owned()).collect())
    }

    async fn target(storage: &FsStorage, text: &str) -> Option<Digest> {
        let found = storage.manifest(&name("a"), &tag(text).into()).await.unwrap();
        found.map(|found| found.digest)
    }

    #[tokio::test]
    async fn a_deletion_reads_the_tags_of_its_manifest_however_many_there_are() {
        let mut costs = Vec::new();
        for count in [10, 200] {
            let root = TempDir::new().unwrap();
            let storage = tagged(root.path(), count).await;
            // The first one reads every tag.
            assert_eq!(delete(&storage, "m0").await.unwrap(), ["t0"]);

            seams::watch(root.path());
            assert_eq!(delete(&storage, "m1").await.unwrap(), ["t1"]);
            costs.push(seams::watch(root.path()));
        }
        assert_eq!(costs[0], costs[1]);
        assert_eq!(costs[1].entries, 0);
    }

    #[tokio::test]
    async fn a_manifest_that_is_not_there_costs_no_look_at_any_tag() {
        let root = TempDir::new().unwrap();
        let storage = tagged(root.path(), 20).await;
        seams::watch(root.path());

        assert_eq!(delete(&storage, "unknown").await, None);

        let costs = seams::watch(root.path());
        assert!(costs.files <= 1 && costs.entries == 0, "{costs:?}");
    }

    #[tokio::test]
    async fn deletions_that_come_at_once_read_the_tags_once() {
        let root = TempDir::new().unwrap();
        let storage = tagged(root.path(), 100).await;
        seams::watch(root.path());

        let deletions = (0..50).map(|n| {
            let storage = storage.clone();
            tokio::spawn(async move { delete(&storage, &format!("m{n}")).await })
        });
        for (n, deletion) in deletions.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(deletion.await.unwrap().unwrap(), [format!("t{n}")]);
        }

        let costs = seams::watch(root.path());
        assert_eq!(costs.entries, 100, "{costs:?}");
    }

    /// Otherwise as many deletions as the blocking pool has threads would stop all reads.
    #[test]
    fn deletions_that_wait_for_the_index_hold_no_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let root = TempDir::new().unwrap();
            let storage = tagged(root.path(), 50).await;
            let (begun, is_begun) = tokio::sync::oneshot::channel();
            let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
            storage.store().pauses.at(Point::TagIndexBegun, move || {
                begun.send(()).unwrap();
                goes_on.recv().unwrap();
            });
            let deletions = (0..50).map(|n| {
                let storage = storage.clone();
                tokio::spawn(async move { delete(&storage, &format!("m{n}")).await })
            });
            let deletions: Vec<_> = deletions.collect();
            is_begun.await.unwrap();

            for n in 0..50 {
                assert!(target(&storage, &format!("t{n}")).await.is_some());
            }

            go_on.send(()).unwrap();
            for deletion in deletions {
                assert!(deletion.await.unwrap().is_some());
            }
        });
    }

    /// Runs `meanwhile` when the build of an index reaches a point.
    async fn at_that_point(
        storage: &FsStorage,
        point: Point,
        meanwhile: impl FnOnce(&Store) + Send + 'static,
    ) {
        let store = storage.shared_store();
        storage.store().pauses.at(point, move || meanwhile(&store));
        delete(storage, "m0").await.unwrap();
    }

    fn moves(store: &Store, text: &str, to: &str) {
        let mut moves = [registry_core::storage::TagMove::new(tag(text))].into();
        let mut outcome = registry_core::storage::PutOutcome::of_manifest(false);
        let mut section = store.section([]);
        store
            .move_tags(
                &mut section,
                &name("a"),
                &digest(to),
                &mut moves,
                Origin::default(),
                &mut outcome,
            )
            .unwrap();
        assert!(outcome.failed.is_none() && moves.is_empty());
    }

    #[tokio::test]
    async fn tags_that_move_while_the_index_is_built_are_found_by_the_next_deletion() {
        for point in [Point::TagIndexBegun, Point::TagIndexRead] {
            let root = TempDir::new().unwrap();
            let storage = tagged(root.path(), 4).await;
            at_that_point(&storage, point, |store| {
                moves(store, "new", "m1");
                moves(store, "t2", "m1");
                // To another manifest, and back.
                moves(store, "t1", "m3");
                moves(store, "t1", "m1");
                store
                    .delete_tag(&name("a"), &tag("t3"), TagExpect::Any, &Deletion::new())
                    .unwrap();
            })
            .await;

            assert_eq!(delete(&storage, "m3").await.unwrap(), [""; 0], "{point:?}");
            assert_eq!(delete(&storage, "m2").await.unwrap(), [""; 0], "{point:?}");
            assert_eq!(
                delete(&storage, "m1").await.unwrap(),
                ["new", "t1", "t2"],
                "{point:?}"
            );
            assert_eq!(target(&storage, "new").await, None);
        }
    }

    #[tokio::test]
    async fn a_tag_that_has_moved_on_is_left_where_it_is() {
        let root = TempDir::new().unwrap();
        let storage = tagged(root.path(), 3).await;
        delete(&storage, "m0").await.unwrap();
        put(&storage, &name("a"), manifest("m2"), &["t1"]).await;

        assert_eq!(delete(&storage, "m1").await.unwrap(), [""; 0]);

        assert_eq!(target(&storage, "t1").await, Some(digest("m2")));
        let write = writer(&storage);
        let gone = write
            .delete_tag(&name("a"), &tag("t2"), TagExpect::Any, Deletion::new())
            .await;
        assert!(gone.unwrap().is_some());
        let built = storage.store().tag_index.lease(&name("a")).unwrap();
        assert_eq!(built.candidates(&digest("m2")), [tag("t1")]);
        put(&storage, &name("a"), manifest("m2"), &["t2"]).await;
        assert_eq!(delete(&storage, "m2").await.unwrap(), ["t1", "t2"]);
    }

    #[tokio::test]
    async fn an_index_that_cannot_be_built_leaves_nothing_in_memory() {
        let root = TempDir::new().unwrap();
        let storage = tagged(root.path(), 2).await;
        let store = storage.store();
        let fault = fail(&store.layout.tags(&name("a")), Errno::IO);

        let failed = writer(&storage)
            .delete_manifest(&name("a"), &digest("m0"), Deletion::new())
            .await;

        assert!(failed.is_err());
        assert!(store.tag_index.lock().indexes.is_empty());
        drop(fault);
        assert_eq!(delete(&storage, "m0").await.unwrap(), ["t0"]);
    }

    #[test]
    fn the_indexes_of_all_repositories_take_as_much_as_they_may() {
        let indexes = Arc::new(TagIndexes::bounded(50 * OVERHEAD));
        let built = |repository: &str, count: usize| {
            let repository = name(repository);
            let number = indexes.begin(&repository);
            let entries = (0..count).map(|n| indexes.entry(&digest("m"), &tag(&format!("t{n}"))));
            let entries = entries.collect();
            indexes.finish(&repository, number, entries).unwrap()
        };
        let leased = built("leased", 20);
        for n in 0..20 {
            drop(built(&format!("r{n}"), 20));
            assert!(indexes.lock().bytes <= 50 * OVERHEAD);
        }
        assert_eq!(leased.candidates(&digest("m")).len(), 20);
        assert!(indexes.lease(&name("r0")).is_none());
        assert!(indexes.lease(&name("r19")).is_some());

        // Moves without a deletion count, too.
        let growing = name("growing");
        drop(built("growing", 1));
        drop(built("last", 1));
        for n in 0..100 {
            indexes.moved(&growing, &tag(&format!("n{n}")), None, Some(&digest("m")));
            assert!(indexes.lock().bytes <= 50 * OVERHEAD, "{n}");
        }

        // An index above the bound stays while it is the last one used.
        drop((leased, built("large", 100)));
        assert_eq!(indexes.lock().indexes.len(), 1);
        drop(built("small", 1));
        assert!(indexes.lease(&name("large")).is_none());
        assert!(indexes.lock().bytes <= 50 * OVERHEAD);
    }

    #[test]
    fn a_build_that_was_begun_again_does_not_end_in_the_place_of_the_other() {
        let indexes = Arc::new(TagIndexes::default());
        let (a, t) = (name("a"), tag("t"));
        let entry = indexes.entry(&digest("m"), &t);
        let first = indexes.begin(&a);
        indexes.moved(&a, &t, None, Some(&digest("m")));
        let second = indexes.begin(&a);

        assert!(indexes.finish(&a, first, BTreeSet::new()).is_none());
        indexes.give_up(&a, first);
        assert!(indexes.lease(&a).is_none());
        let lease = indexes.finish(&a, second, BTreeSet::from([entry])).unwrap();
        assert_eq!(lease.candidates(&Digest::of(Algorithm::Sha256, b"other")), []);
        assert_eq!(lease.candidates(&digest("m")), [t]);
    }
}
