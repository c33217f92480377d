//! Opening a directory: [`FsStorage`], its options and its errors.

use crate::{
    atomic::{Disk, Durability},
    bare::BareDirectories,
    builds::{self, Builds, Share},
    condition::{is_out_of_files, warn_of_mounts, warn_of_reserve},
    error::{Context, FsError},
    holders::Holders,
    known_manifests::{KnownManifests, Scanned},
    known_uploads::OpenUploads,
    layout::Layout,
    locks::{KeyedLocks, Slots},
    pieces::Receiving,
    read::Buffers,
    referrer_index::{Keeper, ReferrerIndex},
    remarks::Remarks,
    runtime::{joined, runtime},
    seams::Pauses,
    staging::{OwnerFile, Staging},
    tag_index::{Lease, TagIndexes},
};
use registry_core::{
    Digest, RepositoryName, Tag, UploadId,
    storage::{Result, StorageError},
};
use rustix::fs::FlockOperation;
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

/// Maximum number of large manifests read at once, about as many as a disk reads well.
const LARGE_READS: usize = 8;
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

/// Options for opening an [`FsStorage`].
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// # let root = directory.path();
/// use registry_storage_fs::{Durability, FsStorage};
///
/// let storage = FsStorage::options().durability(Durability::Relaxed).open(root)?;
/// # Ok::<(), registry_storage_fs::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FsOptions {
    durability: Durability,
    min_free: u64,
    read_only: bool,
}

/// Reasons why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be written.
    #[error("{} cannot be written by user id {user}", path.display())]
    NotWritable {
        /// The root directory.
        path: PathBuf,
        /// The effective user id of this process.
        user: u32,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
    /// There is no room for the few files that an owner keeps there. It can be opened
    /// [read-only](FsOptions::read_only).
    #[error(
        "{} has no {lacking} left for the files that a registry keeps there; make room, or open it read-only",
        path.display()
    )]
    Full {
        /// The root directory.
        path: PathBuf,
        /// The exhausted resource: space, or files.
        lacking: &'static str,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
    /// Another storage has the directory open, in this process or another. A host that expects that one to end should
    /// retry.
    #[error(
        "{} is in use by process {}{}; one process owns a directory, any number read it beside that one, and maintenance beside a running registry asks that registry",
        path.display(),
        process.map_or_else(|| "of an unknown id".to_owned(), |id| id.to_string()),
        host.as_ref().map_or_else(String::new, |host| format!(" on {host}"))
    )]
    InUse {
        /// The root directory.
        path: PathBuf,
        /// The id of the process that has it open, valid only on its host or in its container.
        process: Option<u32>,
        /// The name of that host or container.
        host: Option<String>,
    },
    /// The directory cannot be locked or prepared.
    #[error("{} cannot be opened as a registry: {action}", path.display())]
    Unusable {
        /// The root directory.
        path: PathBuf,
        /// The action that failed.
        action: String,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn not_writable(root: &Path, source: io::Error) -> Self {
        let path = root.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                lacking: if is_out_of_files(root) {
                    "files (inodes)"
                } else {
                    "space"
                },
                path,
                source,
            },
            _ => Self::NotWritable {
                path,
                user: rustix::process::geteuid().as_raw(),
                source,
            },
        }
    }
}

impl FsOptions {
    /// Sets the failures that an acknowledged write survives. [`Durability::Full`] unless set.
    #[must_use]
    pub const fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Sets the number of bytes of the file system that uploads must leave free. 0 unless set.
    ///
    /// An upload that would leave less is refused with [`StorageError::Full`]: when it is opened, when it continues,
    /// and while it is received, to within 16 MiB for each upload in progress. Nothing of the refused request stays; a
    /// session can still be closed with the bytes of earlier requests. Manifests, mounts and deletions continue, so
    /// everything else works on a disk that fills up.
    #[must_use]
    pub const fn min_free(self, min_free: u64) -> Self {
        Self { min_free, ..self }
    }

    /// Opens the directory for reading only. Nothing is written, created or locked, so the directory may be one that
    /// this process cannot write, such as a mounted snapshot. Any number of such storages share a directory with its
    /// owner and see its changes: nothing that may change is remembered.
    ///
    /// Referrers are found by the index that the owner maintains beside the repositories. Without a running owner,
    /// each manifest of a repository is read once, when the repository is first asked for referrers.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Opens the storage in `root`, which is created if it does not exist; registry:2 calls it `rootdirectory`.
    ///
    /// Does not wait for another process that has it open. A host that starts while its predecessor ends retries for
    /// some time after [`OpenError::InUse`].
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing but possibly empty directories was changed.
    pub fn open(self, root: impl AsRef<Path>) -> Result<FsStorage, OpenError> {
        let root = root.as_ref();
        let layout = Layout::new(root);
        let not_writable = |error: FsError| OpenError::not_writable(root, error.into_source());
        let unusable = |error: FsError| OpenError::Unusable {
            path: root.to_path_buf(),
            action: error.to_string(),
            source: error.into_source(),
        };
        if self.read_only {
            fs::read_dir(root).at("read", root).map_err(unusable)?;
            let disk = Disk::new(
                layout.top(),
                Staging::new(layout.staging(), None),
                self.durability,
            );
            return Ok(self.storage(layout, disk, None, None));
        }
        fs::create_dir_all(layout.top())
            .at("create", layout.top())
            .map_err(not_writable)?;
        let owner = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(layout.owner())
            .at("create", &layout.owner())
            .map_err(not_writable)?;
        let owner = Owner::take(owner, root, &layout.owner())?;

        // Whatever was staged belongs to an operation that was never acknowledged.
        let staging = layout.staging();
        fs::remove_dir_all(&staging)
            .if_there("empty", &staging)
            .map_err(unusable)?;
        fs::create_dir(&staging)
            .at("create", &staging)
            .map_err(not_writable)?;
        warn_of_mounts(&layout);
        warn_of_reserve(&layout, self.min_free);
        let locked = OwnerFile::of(&owner.file, &layout.owner())
            .at("look at", &layout.owner())
            .map_err(unusable)?;
        let disk = Disk::new(layout.top(), Staging::new(staging, locked), self.durability);
        for directory in layout.top().ancestors().take(4) {
            let directory = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            disk.sync_directory(directory).map_err(unusable)?;
        }
        let keeper = Keeper::take(&layout)
            .at("name this opening in", layout.top())
            .map_err(unusable)?;
        Ok(self.storage(layout, disk, Some(owner), Some(keeper)))
    }

    fn storage(self, layout: Layout, disk: Disk, owner: Option<Owner>, keeper: Option<Keeper>) -> FsStorage {
        let turns = builds::turns();
        let closed = Arc::<AtomicBool>::default();
        FsStorage {
            _handle: Arc::new(OpenHandle {
                closed: Arc::clone(&closed),
            }),
            store: Arc::new(Store {
                closed,
                open_uploads: OpenUploads::new(&layout),
                bare: BareDirectories::default(),
                layout,
                disk,
                min_free: self.min_free,
                boot: boot_id(),
                uploads: KeyedLocks::new(),
                manifests: KeyedLocks::new(),
                blobs: KeyedLocks::new(),
                tags: KeyedLocks::new(),
                large_reads: Slots::new(LARGE_READS),
                tag_index: Arc::default(),
                tag_builds: Builds::new(Share::WhileItRuns, &turns),
                referrer_builds: Builds::new(Share::WhileItRuns, &turns),
                scans: Builds::new(Share::UntilItBegins, &turns),
                known_manifests: KnownManifests::default(),
                holders: Holders::default(),
                remarks: Remarks::default(),
                buffers: Arc::new(Buffers::default()),
                write_back: Arc::new(Semaphore::new(UPLOAD_SYNCS)),
                receiving: Arc::default(),
                pauses: Pauses::default(),
                keeper,
                owner,
            }),
        }
    }
}

impl FsStorage {
    /// Opens the storage in `root` with [`Durability::Full`]; the directory is created if it does not exist.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root = directory.path();
    /// use registry_core::storage::Storage;
    ///
    /// let storage = registry_storage_fs::FsStorage::open(root)?;
    /// assert!(storage.write().is_some());
    /// # Ok::<(), registry_storage_fs::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory cannot be written, or another process has it open.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(root)
    }

    /// Returns the options, at their defaults.
    #[must_use]
    pub fn options() -> FsOptions {
        FsOptions::default()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the store, for work that continues without a handle.
    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Runs one operation: one closure on the blocking pool, which runs to its end even if this future is dropped. The
    /// closure owns the locks that it takes.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        joined(self.start(work)?).await
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
            // Nobody may be waiting any more.
            let _ = done.send(span.in_scope(|| work(&store)));
        });
        spawned.map_err(|source| StorageError::io("cannot start a thread", source))?;
        result.await.map_err(|source| StorageError::Internal {
            context: "a storage operation did not run to its end".into(),
            source: Some(source.into()),
        })
    }

    /// Does the same as [`blocking`](Self::blocking) for work that writes, provided that the directory is still the
    /// one that this process owns. In another directory, everything stored would count as absent.
    pub(crate) async fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(move |store| {
            store.disk.require_owned()?;
            work(store)
        })
        .await
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
    ) -> Result<JoinHandle<Result<T>>> {
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
    /// Identifies this boot of the machine.
    pub(crate) boot: String,
    pub(crate) uploads: KeyedLocks<UploadId>,
    pub(crate) open_uploads: OpenUploads,
    pub(crate) bare: BareDirectories,
    /// Taken before `tags` if both are needed.
    pub(crate) manifests: KeyedLocks<(RepositoryName, Digest)>,
    pub(crate) tags: KeyedLocks<(RepositoryName, Tag)>,
    /// Held while bytes are put in place or set aside; no other lock is taken meanwhile.
    pub(crate) blobs: KeyedLocks<Digest>,
    /// Slots for large manifests in memory that the registry has not counted yet.
    pub(crate) large_reads: Slots,
    pub(crate) tag_index: Arc<TagIndexes>,
    pub(crate) tag_builds: Builds<Lease>,
    pub(crate) referrer_builds: Builds<()>,
    pub(crate) scans: Builds<Scanned>,
    pub(crate) known_manifests: KnownManifests,
    pub(crate) holders: Holders,
    pub(crate) remarks: Remarks,
    pub(crate) buffers: Arc<Buffers>,
    /// Bounds concurrent syncs of uploads that are being received.
    pub(crate) write_back: Arc<Semaphore>,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) pauses: Pauses,
    /// True once the last handle is dropped.
    closed: Arc<AtomicBool>,
    /// Released before the directory is.
    keeper: Option<Keeper>,
    /// `None` if the storage was opened read-only.
    owner: Option<Owner>,
}

impl Store {
    /// Returns true if this process owns the directory, and so may write it.
    pub(crate) const fn is_owned(&self) -> bool {
        self.owner.is_some()
    }

    /// Returns the indexes of referrers, which only the owner of the directory maintains.
    pub(crate) const fn referrer_index(&self) -> ReferrerIndex<'_> {
        ReferrerIndex {
            layout: &self.layout,
            disk: &self.disk,
            keeper: self.keeper.as_ref(),
        }
    }

    /// Fails once the storage is closed, which ends long work.
    pub(crate) fn require_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StorageError::internal("the storage was closed"));
        }
        Ok(())
    }
}

/// The lock on the directory, held while it is open. The kernel releases it, however the process ends.
struct Owner {
    file: File,
}

impl Owner {
    fn take(mut file: File, root: &Path, path: &Path) -> Result<Self, OpenError> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.take(512).read_to_string(&mut text);
                let mut lines = text.lines();
                return Err(OpenError::InUse {
                    path: root.to_path_buf(),
                    process: lines.next().and_then(|id| id.trim().parse().ok()),
                    host: lines.next().map(str::to_owned),
                });
            }
            Err(error) => {
                return Err(OpenError::Unusable {
                    path: root.to_path_buf(),
                    action: format!("cannot lock {}", path.display()),
                    source: error.into(),
                });
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}\n{}", std::process::id(), host_name()));
        match written {
            Ok(()) => Ok(Self { file }),
            Err(source) => Err(OpenError::not_writable(root, source)),
        }
    }
}

/// Returns the name of this host, or of this container.
fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// Returns an identifier of this boot, or of this process if the system names none; that one is valid for less long.
fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
        _ => {
            let mut random = [0; 16];
            // Without randomness no two processes may trust each other's checkpoints, and 0 is nobody's id.
            let _ = getrandom::fill(&mut random);
            format!(
                "process-{}-{:032x}",
                std::process::id(),
                u128::from_ne_bytes(random)
            )
        }
    }
}
