//! [`Staging`]: the directory in which files are written before they get their names, while this process owns it.
//!
//! The lock on `_owner` is on a file, not on a path. If the directory is moved away or emptied, another one in its
//! place is not locked, and this process knows nothing of it. Each write therefore begins with a check that the owner
//! file is still the locked one. If it is, a missing staging area is created again.

use crate::error::{Context as _, FsError, Replaced};
use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The staging area of one process.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: PathBuf,
    /// `None` if nothing is locked.
    owner: Option<OwnerFile>,
    /// Number for the next name in the directory. No other process writes there.
    names: AtomicU64,
}

/// The file that this process has locked, and its path at that time.
#[derive(Debug)]
pub(crate) struct OwnerFile {
    path: PathBuf,
    id: FileId,
}

/// Identifies an open file on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl OwnerFile {
    /// Identifies the locked file. `None` on file systems that report different numbers for one file, so that no check
    /// is possible.
    pub(crate) fn of(file: &File, path: &Path) -> io::Result<Option<Self>> {
        let id = FileId::of(&file.metadata()?);
        let by_path = FileId::of(&fs::metadata(path)?);
        Ok((id == by_path).then(|| Self {
            path: path.to_path_buf(),
            id,
        }))
    }

    fn is_still_there(&self) -> Result<bool, FsError> {
        let there = fs::metadata(&self.path).if_there("read the metadata of", &self.path)?;
        Ok(there.is_some_and(|there| FileId::of(&there) == self.id))
    }
}

impl Staging {
    pub(crate) const fn new(directory: PathBuf, owner: Option<OwnerFile>) -> Self {
        Self {
            directory,
            owner,
            names: AtomicU64::new(0),
        }
    }

    /// Returns an unused name in the staging area. Anything there is removed when it is dropped.
    pub(crate) fn stage(&self) -> Result<Staged, FsError> {
        self.require_owned()?;
        if fs::metadata(&self.directory)
            .if_there("read the metadata of", &self.directory)?
            .is_none()
        {
            tracing::warn!(directory = %self.directory.display(), "the staging directory was removed; creating it again");
            match fs::create_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.at("create", &self.directory)?,
            }
        }
        let name = self.names.fetch_add(1, Ordering::Relaxed).to_string();
        Ok(Staged {
            path: self.directory.join(name),
        })
    }

    /// Checks that the directory is still the one that this process owns.
    pub(crate) fn require_owned(&self) -> Result<(), FsError> {
        let Some(owner) = &self.owner else {
            return Ok(());
        };
        if owner.is_still_there()? {
            return Ok(());
        }
        let replaced = Replaced {
            owner: owner.path.clone(),
        };
        Err(io::Error::other(replaced)).at("use", &self.directory)
    }
}

/// A name in the staging area, with or without a file or directory.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Best effort: the staging directory is emptied at opening. Most staged names are files.
        let removed = match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => fs::remove_dir_all(&self.path),
            other => other,
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a staged file");
        }
    }
}
