//! [`FsStorage`], a handle on a directory, and [`Store`], the state that all its operations share.

use crate::{
    bare::BareDirectories,
    builds::{self, Builds, Share},
    collect::collecting::Collecting,
    digest_locks::DigestLocks,
    digest_pages::DigestPages,
    disk::Disk,
    known_closures::KnownClosures,
    known_manifests::{KnownManifests, Scanned},
    known_uploads::OpenUploads,
    layout::Layout,
    locks::{KeyedLocks, Slots},
    machine::boot_id,
    owner::Tenure,
    pauses::Pauses,
    pieces::Receiving,
    read::Buffers,
    referrer_index::ReferrerIndex,
    reported_problems::ReportedProblems,
    reserve::Reserve,
    runtime::{AnyResult, Begun, joined, runtime},
    tag_index::{Lease, TagIndexes},
    tag_versions::TagVersions,
};
use registry_core::{
    Digest, RepositoryName, Tag, UploadId,
    storage::{RecentHolders, Result, StorageError, TrashIds},
};
use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
};

/// Number of blobs whose recent holders are remembered.
const HOLDERS: usize = 8192;
/// Maximum number of large manifests read at once, about as many as a disk reads well.
const LARGE_READS: usize = 8;
/// Minimum number of items of a page of a long listing.
const LONG_PAGE: usize = 100;
/// Maximum number of uploads synced at the same time. More do not make a disk faster, and each occupies a thread of
/// the blocking pool. Without a bound, a slow disk would leave no thread for pulls.
pub(crate) const UPLOAD_SYNCS: usize = 8;

/// Repositories in a directory, in the layout of registry:2. Clones are handles on the same storage.
///
/// Its operations run on the blocking pool of the tokio runtime that they are called in.
#[derive(Clone)]
pub struct FsStorage {
    store: Arc<Store>,
    _handle: Arc<OpenHandle>,
}

/// Marker of open handles, dropped with the last one. Work that nobody waits for holds the store itself, and ends soon
/// afterwards.
struct OpenHandle {
    closed: Arc<AtomicBool>,
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl FsStorage {
    /// Returns a storage in a directory, for what `tenure` allows.
    pub(crate) fn new(layout: Layout, disk: Disk, min_free: u64, reserve: Reserve, tenure: Tenure) -> Self {
        let collecting = match tenure {
            Tenure::Owner(_) => Collecting::open(&layout, &disk),
            Tenure::Preview { .. } => Collecting::preview(&layout),
            Tenure::Reader => Collecting::none(),
        };
        let turns = builds::turns();
        let closed = Arc::<AtomicBool>::default();
        Self {
            _handle: Arc::new(OpenHandle {
                closed: Arc::clone(&closed),
            }),
            store: Arc::new(Store {
                closed,
                open_uploads: OpenUploads::new(&layout),
                bare: BareDirectories::default(),
                reserve,
                layout,
                disk,
                min_free,
                boot: boot_id(),
                uploads: KeyedLocks::new(),
                digest_locks: DigestLocks::default(),
                digest_pages: DigestPages::new(LONG_PAGE),
                known_closures: KnownClosures::default(),
                collecting: Arc::new(collecting),
                manifests: KeyedLocks::new(),
                blobs: KeyedLocks::new(),
                tags: KeyedLocks::new(),
                trash_ids: TrashIds::default(),
                large_reads: Slots::new(LARGE_READS),
                tag_index: Arc::default(),
                tag_versions: TagVersions::default(),
                tag_builds: Builds::new(Share::WhileItRuns, &turns),
                referrer_builds: Builds::new(Share::WhileItRuns, &turns),
                scans: Builds::new(Share::UntilItBegins, &turns),
                known_manifests: KnownManifests::default(),
                holders: RecentHolders::new(HOLDERS),
                reported: ReportedProblems::default(),
                buffers: Arc::new(Buffers::default()),
                write_back: Arc::new(Semaphore::new(UPLOAD_SYNCS)),
                receiving: Arc::default(),
                pauses: Pauses::default(),
                tenure,
                alive: watch::Sender::default(),
            }),
        }
    }

    /// Drops this handle. If it was the last one, waits for the operations that still run, though nobody may wait for
    /// their outcome, until the directory is free to be opened again, and returns true.
    ///
    /// Returns false at once if there are other handles, so that the directory remains in use.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_storage_fs::FsStorage;
    ///
    /// let storage = FsStorage::open(root)?;
    /// assert!(storage.close().await);
    /// let again = FsStorage::open(root)?;
    /// # drop(again);
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(example())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: the storage closes all the same, and nobody is told when.
    pub async fn close(self) -> bool {
        let Self {
            store,
            _handle: handle,
        } = self;
        let mut alive = store.alive.subscribe();
        let closed = Arc::clone(&store.closed);
        drop((handle, store));
        let was_last = closed.load(Ordering::Relaxed);
        if was_last {
            // No value is ever sent, so this waits for the sender's end.
            _ = alive.changed().await;
        }
        was_last
    }

    /// Returns the path beside the storage for a Unix socket on which this process takes commands: a file in a directory
    /// of its own, which does not exist yet. `None` if the storage was opened read-only.
    #[must_use]
    pub fn control_socket(&self) -> Option<PathBuf> {
        self.store.is_owned().then(|| self.store.layout.control_socket())
    }

    /// Names the socket on which this process takes commands in the lock file, for
    /// [`OwnerRecord::read`](crate::OwnerRecord::read) of other processes. `None` removes the name.
    ///
    /// # Errors
    ///
    /// The error of the system if the file cannot be written; [`io::ErrorKind::InvalidInput`] if the path contains a line
    /// feed; [`io::ErrorKind::PermissionDenied`] if the storage was opened read-only.
    pub fn name_socket(&self, socket: Option<&Path>) -> io::Result<()> {
        match self.store.tenure.owner() {
            Some(owner) => owner.name_socket(&self.store.layout, socket),
            None => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this process does not own the directory",
            )),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the store, for work that continues without a handle.
    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Runs one operation: one closure on the blocking pool. It begins at once, and runs to its end even if the future
    /// is dropped. The closure owns the locks that it takes.
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        joined(self.start(work))
    }

    /// Does the same on a thread of its own, for rare and long work, which then occupies no thread of the blocking
    /// pool.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T> {
        let (store, span) = (Arc::clone(&self.store), tracing::Span::current());
        let (done, result) = oneshot::channel();
        let spawned = thread::Builder::new().spawn(move || {
            let result = span.in_scope(|| work(&store));
            // Before the caller goes on, which may close the storage and open the directory again.
            drop(store);
            // The caller may have stopped waiting.
            let _ = done.send(result);
        });
        spawned.map_err(|source| StorageError::io("cannot start a thread", source))?;
        result
            .await
            .map_err(|source| StorageError::failed("a storage operation did not run to its end", source))
    }

    /// Does the same as [`blocking`](Self::blocking) for work that writes, provided that the directory is still the
    /// one that this process owns. In another directory, everything stored would count as absent.
    pub(crate) fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        self.blocking(move |store| {
            store.disk.require_owned()?;
            work(store)
        })
    }

    /// Does the same as [`blocking`](Self::blocking) for an inspection, and fails if the directory is then not the one
    /// that this process owns. A directory that is away would count as empty, and everything in it as gone.
    pub(crate) fn inspecting<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        self.blocking(move |store| {
            let found = work(store)?;
            store.disk.require_owned()?;
            Ok(found)
        })
    }

    /// Returns the outcome of `work` on a repository, which other requests may share.
    pub(crate) async fn build<T: Send + Sync + 'static>(
        &self,
        builds: &Builds<T>,
        repository: &RepositoryName,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<Arc<T>> {
        let store = self.shared_store();
        builds.outcome(repository, move || work(&store)).await
    }

    /// Begins an operation as [`blocking`](Self::blocking) does, without waiting for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<Begun<Result<T>>> {
        let work = self.start_boxed(Box::new(|store| Box::new(work(store))))?;
        Ok(Begun::of(work))
    }

    fn start_boxed(
        &self,
        work: Box<dyn FnOnce(&Store) -> AnyResult + Send>,
    ) -> Result<JoinHandle<AnyResult>> {
        let runtime = runtime()?;
        let store = Arc::clone(&self.store);
        let span = tracing::Span::current();
        Ok(runtime.spawn_blocking(move || span.in_scope(|| work(&store))))
    }
}

impl fmt::Debug for FsStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsStorage")
            .field("top", &self.store.layout.top())
            .finish_non_exhaustive()
    }
}

/// State that every operation works on. Each module adds the operations that it is named for.
pub(crate) struct Store {
    pub(crate) layout: Layout,
    pub(crate) disk: Disk,
    /// Number of bytes that uploads leave free.
    pub(crate) min_free: u64,
    pub(crate) reserve: Reserve,
    /// Identifies this boot of the machine.
    pub(crate) boot: String,
    pub(crate) uploads: KeyedLocks<UploadId>,
    pub(crate) open_uploads: OpenUploads,
    pub(crate) bare: BareDirectories,
    /// Taken before all other locks but `uploads`.
    pub(crate) digest_locks: DigestLocks,
    pub(crate) digest_pages: DigestPages,
    pub(crate) known_closures: KnownClosures,
    pub(crate) collecting: Arc<Collecting>,
    /// Taken before `tags` if both are needed.
    pub(crate) manifests: KeyedLocks<(RepositoryName, Digest)>,
    pub(crate) tags: KeyedLocks<(RepositoryName, Tag)>,
    pub(crate) trash_ids: TrashIds,
    /// Held while bytes are published or quarantined. No other lock is taken meanwhile.
    pub(crate) blobs: KeyedLocks<Digest>,
    /// Slots for large manifests in memory that the registry has not counted yet.
    pub(crate) large_reads: Slots,
    pub(crate) tag_index: Arc<TagIndexes>,
    pub(crate) tag_versions: TagVersions,
    pub(crate) tag_builds: Builds<Lease>,
    pub(crate) referrer_builds: Builds<()>,
    pub(crate) scans: Builds<Scanned>,
    pub(crate) known_manifests: KnownManifests,
    pub(crate) holders: RecentHolders,
    pub(crate) reported: ReportedProblems,
    pub(crate) buffers: Arc<Buffers>,
    /// Bounds concurrent syncs of uploads that are being received.
    pub(crate) write_back: Arc<Semaphore>,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) pauses: Pauses,
    /// True once the last handle is dropped.
    closed: Arc<AtomicBool>,
    tenure: Tenure,
    /// Dropped after the locks of the owner are released, since it is the last field.
    alive: watch::Sender<()>,
}

impl Store {
    /// Returns true if this process owns the directory, and may write it.
    pub(crate) const fn is_owned(&self) -> bool {
        self.tenure.owner().is_some()
    }

    /// Returns true if this process knows everything that uses content, as no other process owns the directory.
    pub(crate) const fn can_preview(&self) -> bool {
        !matches!(self.tenure, Tenure::Reader)
    }

    /// Returns the indexes of referrers, which only the owner of the directory maintains.
    pub(crate) fn referrer_index(&self) -> ReferrerIndex<'_> {
        ReferrerIndex {
            layout: &self.layout,
            disk: &self.disk,
            owner: self.tenure.owner().map(|owner| &owner.index),
        }
    }

    /// Returns true if a thread waits for a lock of content.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.digest_locks.is_waited_for()
            || self.manifests.is_waited_for()
            || self.tags.is_waited_for()
            || self.blobs.is_waited_for()
    }

    /// Fails once the storage is closed, which ends long work.
    pub(crate) fn require_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StorageError::internal("the storage was closed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, pin::pin, sync::mpsc, task::Poll};
    use tempfile::TempDir;

    #[tokio::test]
    async fn a_closed_directory_is_free_once_its_last_operation_has_ended() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (end, ended) = mpsc::channel::<()>();
        // Nobody waits for this operation.
        drop(storage.blocking(move |_| {
            ended.recv().unwrap();
            Ok(())
        }));

        let mut closing = pin!(storage.close());
        let polled = poll_fn(|context| Poll::Ready(closing.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        end.send(()).unwrap();

        assert!(closing.await);
        FsStorage::open(root.path()).unwrap();
    }

    #[tokio::test]
    async fn a_directory_with_another_handle_stays_in_use() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let other = storage.clone();

        assert!(!storage.close().await);

        assert!(FsStorage::open(root.path()).is_err());
        assert!(other.close().await);
    }
}
