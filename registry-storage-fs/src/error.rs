//! [`FsError`]: an I/O failure with its action and path, which becomes a [`StorageError`]. [`OpenError`]: the failures
//! of opening a directory.

use crate::condition::is_out_of_files;
use registry_core::storage::{Resource, StorageError};
use rustix::io::Errno;
use std::{
    io,
    path::{Path, PathBuf},
};

/// A failed system call and its path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct FsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
    /// True if only inodes were exhausted. Determined at the failure, because the failed operation may free some.
    lacks_files: bool,
}

impl FsError {
    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Returns true if the path, or a directory on the way to it, does not exist.
    pub(crate) fn is_absence(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Returns true if the failure concerns this path alone, and not the disk, the machine or other paths: the path is
    /// unreadable, leads nowhere, or is a file in place of a directory.
    pub(crate) fn is_of_this_path(&self) -> bool {
        matches!(
            self.source.raw_os_error().map(Errno::from_raw_os_error),
            Some(Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NOTDIR)
        )
    }

    /// Returns the error number of the system.
    pub(crate) fn code(&self) -> u64 {
        u64::from(self.source.raw_os_error().unwrap_or_default().unsigned_abs())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn source(&self) -> &io::Error {
        &self.source
    }

    pub(crate) fn into_source(self) -> io::Error {
        self.source
    }
}

impl From<FsError> for StorageError {
    fn from(error: FsError) -> Self {
        let context = error.to_string();
        if let Some(replaced) = error.source.get_ref().filter(|source| source.is::<Replaced>()) {
            return Self::unavailable(format!("{context}: {replaced}"), None, None);
        }
        if error.lacks_files {
            return Self::full(Resource::Files, context, error.source);
        }
        Self::io(context, error.source)
    }
}

/// The directory at the path is no longer the one that this process owns.
#[derive(Debug, thiserror::Error)]
#[error(
    "the directory was replaced or emptied while it was in use: {} is not the file that this process has locked; restore the directory, or restart this process",
    owner.display()
)]
pub(crate) struct Replaced {
    pub(crate) owner: PathBuf,
}

/// Adds the action and the path to the error of a system call.
pub(crate) trait Context<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError>;

    /// Does the same, and returns `None` if the path does not exist. A file in place of a directory is an error, since
    /// nothing can be created below it.
    fn if_there(self, action: &'static str, path: &Path) -> Result<Option<T>, FsError>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError> {
        #[cfg(test)]
        let this = crate::faults::injected(self, action, path);
        #[cfg(not(test))]
        let this = self;
        this.map_err(|source| FsError {
            action,
            path: path.to_path_buf(),
            lacks_files: source.kind() == io::ErrorKind::StorageFull && is_out_of_files(path),
            source,
        })
    }

    fn if_there(self, action: &'static str, path: &Path) -> Result<Option<T>, FsError> {
        match self.at(action, path) {
            Err(error) if error.is_absence() => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Reasons why a directory cannot be opened.
///
/// ```
/// use registry_storage_fs::{FsStorage, OpenError};
///
/// let refused = FsStorage::options().read_only().open("/no/such/directory");
/// assert!(matches!(refused, Err(OpenError::Unusable { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be written.
    #[error("cannot write {} as user id {user}", path.display())]
    NotWritable {
        /// The root directory.
        path: PathBuf,
        /// The effective user id of this process.
        user: u32,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
    /// There is no space for the few files of an owner. The directory can be opened
    /// [read-only](crate::FsOptions::read_only).
    #[error(
        "{} has no {lacking} left for the files of the lock and the staging directory; make room, or open it read-only",
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
        "{} is in use by process {}{}; stop that process, or open the directory read-only",
        path.display(),
        process.map_or_else(|| "of unknown id".to_owned(), |id| id.to_string()),
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
    #[error("cannot open {} as a registry: {action}", path.display())]
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
    pub(crate) fn unusable(root: &Path, error: FsError) -> Self {
        Self::Unusable {
            path: root.to_path_buf(),
            action: error.to_string(),
            source: error.into_source(),
        }
    }

    pub(crate) fn not_writable(root: &Path, source: io::Error) -> Self {
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
