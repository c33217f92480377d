//! [`FsError`]: an I/O failure with what was being done, on its way to becoming a [`StorageError`].

use registry_core::storage::StorageError;
use std::{
    io,
    path::{Path, PathBuf},
};

/// A system call that failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct FsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FsError {
    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the path, or a directory on the way to it, does not exist.
    pub(crate) fn is_absence(&self) -> bool {
        is_absence(&self.source)
    }

    pub(crate) fn into_source(self) -> io::Error {
        self.source
    }
}

impl From<FsError> for StorageError {
    fn from(error: FsError) -> Self {
        let context = error.to_string();
        Self::io(context, error.source)
    }
}

/// Whether an I/O error says that there is nothing, and not that nobody could tell.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Says what was being done when a system call failed.
pub(crate) trait Context<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError>;

    /// The same, where absence is an answer.
    fn if_there(self, action: &'static str, path: &Path) -> Result<Option<T>, FsError>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|source| FsError {
            action,
            path: path.to_path_buf(),
            source,
        })
    }

    fn if_there(self, action: &'static str, path: &Path) -> Result<Option<T>, FsError> {
        match self {
            Err(error) if is_absence(&error) => Ok(None),
            other => other.at(action, path).map(Some),
        }
    }
}
