//! Opening a directory: [`FsStorage`], its options, and what stands in the way.

use crate::{
    atomic::{Disk, Durability},
    bare::BareDirectories,
    builds::{self, Builds, Share},
    condition::{is_out_of_files, warn_of_mounts},
    error::{Context, FsError},
    holders::Holders,
    layout::Layout,
    locks::{KeyedLocks, Slots},
    manifest_scan::{KnownManifests, Scanned},
    open_uploads::OpenUploads,
    pieces::Receiving,
    read::Buffers,
    referrer_index::Keeper,
    remarks::Remarks,
    seams::Pauses,
    staging::{OwnerFile, Staging},
    tag_index::{Lease, TagIndexes},
    write_back,
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
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

/// How many large manifests are read at once: as many as a disk reads well.
const LARGE_READS: usize = 8;

/// Repositories in a directory, in the layout of registry:2. Clones are handles on the same storage.
///
/// Its operations run on the blocking pool of the tokio runtime that they are called in.
#[derive(Clone)]
pub struct FsStorage {
    store: Arc<Store>,
    _handle: Arc<OpenHandle>,
}

/// Goes with the last handle on a storage. Work that nobody waits for holds the store itself, and ends soon afterwards.
struct OpenHandle {
    closed: Arc<AtomicBool>,
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// How to open an [`FsStorage`].
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

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing can be written there.
    #[error("{} cannot be written by user id {user}", path.display())]
    NotWritable {
        /// The root directory.
        path: PathBuf,
        /// The effective user id of this process.
        user: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no room for the few files that an owner keeps there. It can be opened [read-only](FsOptions::read_only).
    #[error(
        "{} has no {lacking} left for the files that a registry keeps there; make room, or open it read-only",
        path.display()
    )]
    Full {
        /// The root directory.
        path: PathBuf,
        /// The thing that there is none of: space, or files.
        lacking: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another storage has it open, in this process or another. Whoever expects that one to end tries again.
    #[error(
        "{} is in use by process {}{}; one process owns a directory, any number read it beside that one, and maintenance beside a running registry asks that registry",
        path.display(),
        process.map_or_else(|| "of an unknown id".to_owned(), |id| id.to_string()),
        host.as_ref().map_or_else(String::new, |host| format!(" on {host}"))
    )]
    InUse {
        /// The root directory.
        path: PathBuf,
        /// The id of the process that has it, which means something on its host or in its container only.
        process: Option<u32>,
        /// The name of that host or container.
        host: Option<String>,
    },
    /// It cannot be locked or prepared.
    #[error("{} cannot be opened as a registry: {action}", path.display())]
    Unusable {
        /// The root directory.
        path: PathBuf,
        /// What failed.
        action: String,
        /// What the system said.
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
    /// What an acknowledged write survives. [`Durability::Full`] unless set.
    #[must_use]
    pub const fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// How many bytes of the file system are not for uploads. 0 unless set.
    ///
    /// An upload that would leave less is refused with [`StorageError::Full`]: when it is opened, when it goes on, and
    /// while it is received, to within 16 MiB for each that runs. Of the request that is refused nothing stays; what earlier
    /// ones brought may be closed. Manifests, mounts and deletions go on. So a disk that fills up stays one on which everything else works.
    #[must_use]
    pub const fn min_free(self, min_free: u64) -> Self {
        Self { min_free, ..self }
    }

    /// For reading alone: nothing is written, made or locked, so that the directory may be one that this process cannot
    /// write, such as a mounted snapshot. Any number of such storages share a directory with its owner, and see what it
    /// changes: nothing that may change is remembered.
    ///
    /// Referrers are found by the index that the owner keeps beside the repositories. Where no owner runs, each manifest
    /// of a repository is read once when it is first asked for referrers.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Opens the storage in `root`, which is made if it does not exist; registry:2 calls it `rootdirectory`.
    ///
    /// It does not wait for another process that has it. A host that starts while its predecessor ends tries again for
    /// some time after [`OpenError::InUse`].
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing but perhaps empty directories was changed.
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
                write_back: write_back::turns(),
                receiving: Arc::default(),
                pauses: Pauses::default(),
                keeper,
                owner,
            }),
        }
    }
}

impl FsStorage {
    /// Opens the storage in `root` with [`Durability::Full`]; the directory is made if it does not exist.
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
    /// [`OpenError`] if the directory cannot be written, or another process has it.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(root)
    }

    /// The options, at their defaults.
    #[must_use]
    pub fn options() -> FsOptions {
        FsOptions::default()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The store for work that goes on without a handle.
    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// One operation: one closure on the blocking pool, which runs to its end even if this future is dropped.
    /// The locks that it takes live in it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        joined(self.start(work)?).await
    }

    /// The same on a thread of its own: for what is done seldom and takes long, so that it has none of those that serve.
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

    /// As [`blocking`](Self::blocking), for what writes: only as long as the directory is the one that this process owns. In
    /// another, all that is stored would count as absent.
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

    /// As [`blocking`](Self::blocking), begun and not waited for.
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

/// What came of an operation that was begun.
pub(crate) async fn joined<T>(begun: JoinHandle<Result<T>>) -> Result<T> {
    begun.await.map_err(|source| StorageError::Internal {
        context: "a storage operation did not run to its end".into(),
        source: Some(source.into()),
    })?
}

/// The runtime that an operation is called in.
pub(crate) fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|source| StorageError::Internal {
        context: "the storage is used outside of a tokio runtime".into(),
        source: Some(source.into()),
    })
}

impl fmt::Debug for FsStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsStorage")
            .field("top", &self.store.layout.top())
            .finish_non_exhaustive()
    }
}

/// What every operation works on. Each module adds the operations that it is named for.
pub(crate) struct Store {
    pub(crate) layout: Layout,
    pub(crate) disk: Disk,
    /// How many bytes uploads leave free.
    pub(crate) min_free: u64,
    /// Names this boot of the machine.
    pub(crate) boot: String,
    pub(crate) uploads: KeyedLocks<UploadId>,
    pub(crate) open_uploads: OpenUploads,
    pub(crate) bare: BareDirectories,
    /// Taken before `tags` where both are.
    pub(crate) manifests: KeyedLocks<(RepositoryName, Digest)>,
    pub(crate) tags: KeyedLocks<(RepositoryName, Tag)>,
    /// Held while bytes are put in their place or set aside, and nothing else is taken.
    pub(crate) blobs: KeyedLocks<Digest>,
    /// Manifests that lie in memory although nobody has counted them yet.
    pub(crate) large_reads: Slots,
    pub(crate) tag_index: Arc<TagIndexes>,
    pub(crate) tag_builds: Builds<Lease>,
    pub(crate) referrer_builds: Builds<()>,
    pub(crate) scans: Builds<Scanned>,
    pub(crate) known_manifests: KnownManifests,
    pub(crate) holders: Holders,
    pub(crate) remarks: Remarks,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) write_back: Arc<Semaphore>,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) pauses: Pauses,
    /// Nobody has a handle any more.
    closed: Arc<AtomicBool>,
    /// Given up before the directory is.
    keeper: Option<Keeper>,
    /// `None` if it was opened for reading alone.
    owner: Option<Owner>,
}

impl Store {
    /// Whether the directory may be written: only by whoever has it.
    pub(crate) const fn is_owned(&self) -> bool {
        self.owner.is_some()
    }

    /// Says that this process keeps the index; only whoever has the directory does.
    pub(crate) const fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// Ends long work when the storage has been closed.
    pub(crate) fn require_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StorageError::internal("the storage was closed"));
        }
        Ok(())
    }
}

/// The lock on the directory, for as long as it is open. The kernel frees it, however the process ends.
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

/// The name of this host, or of this container.
fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// What names this boot; where the system does not say, this process, which promises less.
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
