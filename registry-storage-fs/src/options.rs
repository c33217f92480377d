//! [`FsOptions`]: options for opening a directory, and the steps of opening it.

use crate::{
    condition::{warn_of_mounts, warn_of_reserve},
    disk::{Disk, Durability},
    error::{Context as _, FsError, OpenError},
    layout::Layout,
    owner::{DirectoryLock, Owner, Tenure},
    referrer_index::IndexOwner,
    reserve::Reserve,
    staging::{OwnerFile, Staging},
    store::FsStorage,
};
use std::{fs, path::Path};

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
    /// `None` leaves a reserve as it is.
    reserve: Option<u64>,
    access: Access,
}

/// Access of a storage to its directory.
#[derive(Clone, Copy, Debug, Default)]
enum Access {
    #[default]
    Own,
    Preview,
    Read,
}

impl FsOptions {
    /// Sets the failures that an acknowledged write survives. Default: [`Durability::Full`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_core::storage::Storage;
    /// use registry_storage_fs::{Durability, FsStorage};
    ///
    /// let storage = FsStorage::options().durability(Durability::Relaxed).open(root)?;
    /// assert!(!storage.abilities().durable);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Sets the number of bytes of the file system that uploads must leave free. Default: 0.
    ///
    /// An upload that would leave less is refused with [`StorageError::Full`]: when it is opened, when it continues,
    /// and while it is received, with a tolerance of 16 MiB for each upload in progress. The bytes of the refused
    /// request are removed. A session can still be closed with the bytes of earlier requests. Manifests, mounts and
    /// deletions are not refused.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_core::storage::{StorageError, StorageHealth};
    /// use registry_storage_fs::FsStorage;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// // No disk has as much.
    /// let storage = FsStorage::options().min_free(u64::MAX).open(root)?;
    /// let refused = storage.accepts_uploads().await;
    /// assert!(matches!(refused, Err(StorageError::Full { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`StorageError::Full`]: registry_core::storage::StorageError::Full
    #[must_use]
    pub const fn min_free(self, min_free: u64) -> Self {
        Self { min_free, ..self }
    }

    /// Sets the number of bytes that are reserved for records of deletions, in files that take this space; 0 removes them.
    /// By default, those of an earlier process stay, and none are created.
    ///
    /// If the disk is full, the files are removed one by one, so that deletions are recorded and can be undone, and a
    /// collection can run. Without a reserve, a deletion on a full disk is not recorded. The files are created at opening
    /// and at the end of a collection, if that leaves [`min_free`](Self::min_free) free. A small disk has a smaller
    /// reserve, at most a 64th of it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_storage_fs::FsStorage;
    ///
    /// let storage = FsStorage::options().reserve_for_records(16 << 20).open(root)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn reserve_for_records(self, reserve: u64) -> Self {
        Self {
            reserve: Some(reserve),
            ..self
        }
    }

    /// Opens the directory for reading only. Nothing is written, created or locked. The directory may be one that this
    /// process cannot write, such as a mounted snapshot. Any number of such storages share a directory with its owner,
    /// and see its changes at once.
    ///
    /// Referrers are found by the index that the owner maintains. Without a running owner, the first request for the
    /// referrers of a repository reads each manifest of that repository once.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_core::storage::Storage;
    /// use registry_storage_fs::FsStorage;
    ///
    /// let owner = FsStorage::open(root)?;
    /// let reader = FsStorage::options().read_only().open(root)?;
    /// assert!(owner.write().is_some());
    /// assert!(reader.write().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self {
            access: Access::Read,
            ..self
        }
    }

    /// Opens the directory for reading only, and for previews of a [collection](fn@registry_core::maintenance::collect). Nothing
    /// is written or created.
    ///
    /// Only the owner of a directory knows what clients use, so there must be none: a running owner is
    /// [`OpenError::InUse`]. No process can become the owner while this storage is open. The exception is a directory that
    /// never had an owner, such as one of registry:2: it has no file that could be locked.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_core::storage::Storage;
    /// use registry_storage_fs::{FsStorage, OpenError};
    ///
    /// let preview = FsStorage::options().preview();
    /// let owner = FsStorage::open(root)?;
    /// assert!(matches!(preview.open(root), Err(OpenError::InUse { .. })));
    /// drop(owner);
    ///
    /// let storage = preview.open(root)?;
    /// assert!(storage.write().is_none());
    /// assert!(storage.collect().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn preview(self) -> Self {
        Self {
            access: Access::Preview,
            ..self
        }
    }

    /// Opens the storage in `root`, which is created if it does not exist. The configuration of registry:2 calls it
    /// `rootdirectory`.
    ///
    /// Does not wait for another process that has it open. A host that starts while its predecessor ends should retry
    /// for some time after [`OpenError::InUse`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_storage_fs::{FsStorage, OpenError};
    ///
    /// let storage = FsStorage::options().open(root)?;
    /// let second = FsStorage::options().open(root);
    /// assert!(matches!(second, Err(OpenError::InUse { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`]. At most empty directories were created.
    pub fn open(self, root: impl AsRef<Path>) -> Result<FsStorage, OpenError> {
        let root = root.as_ref();
        let layout = Layout::new(root);
        match self.access {
            Access::Own => self.open_as_owner(root, layout),
            Access::Preview => self.open_for_previews(root, layout),
            Access::Read => self.open_for_reading(root, layout, None, Tenure::Reader),
        }
    }

    fn open_for_previews(self, root: &Path, layout: Layout) -> Result<FsStorage, OpenError> {
        let lock = DirectoryLock::share(&layout, root)?;
        let locked = match &lock {
            Some(lock) => lock.locked_file(&layout),
            None => Ok(None),
        };
        let locked = locked.map_err(|error| OpenError::unusable(root, error))?;
        self.open_for_reading(root, layout, locked, Tenure::Preview { _lock: lock })
    }

    /// Opens the storage without writing anything.
    fn open_for_reading(
        self,
        root: &Path,
        layout: Layout,
        locked: Option<OwnerFile>,
        tenure: Tenure,
    ) -> Result<FsStorage, OpenError> {
        fs::read_dir(root)
            .at("read", root)
            .map_err(|error| OpenError::unusable(root, error))?;
        let disk = Disk::new(
            layout.top(),
            Staging::new(layout.staging(), locked),
            self.durability,
        );
        let reserve = self.reserve_in(&layout);
        Ok(FsStorage::new(layout, disk, self.min_free, reserve, tenure))
    }

    /// Locks the directory, and prepares it for writing.
    fn open_as_owner(self, root: &Path, layout: Layout) -> Result<FsStorage, OpenError> {
        let not_writable = |error: FsError| OpenError::not_writable(root, error.into_source());
        let unusable = |error: FsError| OpenError::unusable(root, error);
        fs::create_dir_all(layout.top())
            .at("create", layout.top())
            .map_err(not_writable)?;
        let lock = DirectoryLock::take(&layout, root)?;

        // Staged files belong to operations that were never acknowledged.
        let staging = layout.staging();
        fs::remove_dir_all(&staging)
            .if_there("empty", &staging)
            .map_err(unusable)?;
        fs::create_dir(&staging)
            .at("create", &staging)
            .map_err(not_writable)?;
        warn_of_mounts(&layout);
        warn_of_reserve(&layout, self.min_free);
        let locked = lock.locked_file(&layout).map_err(unusable)?;
        let disk = Disk::new(layout.top(), Staging::new(staging, locked), self.durability);
        for directory in layout.top().ancestors().take(4) {
            let directory = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            disk.sync_directory(directory).map_err(unusable)?;
        }
        let index = IndexOwner::take(&layout)
            .at("generate a random id for", layout.top())
            .map_err(unusable)?;
        let owner = Owner::new(lock, index);
        let reserve = self.reserve_in(&layout);
        reserve.fill();
        let tenure = Tenure::Owner(owner);
        Ok(FsStorage::new(layout, disk, self.min_free, reserve, tenure))
    }
}

impl FsOptions {
    fn reserve_in(self, layout: &Layout) -> Reserve {
        Reserve::new(layout.reserve(), self.reserve, self.min_free)
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
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// use registry_storage_fs::FsStorage;
    ///
    /// let storage = FsStorage::options().min_free(1 << 20).open(root)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn options() -> FsOptions {
        FsOptions::default()
    }
}
