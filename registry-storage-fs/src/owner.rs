//! [`Owner`]: the locks of the process that owns a directory.

use crate::{
    error::{Context as _, FsError, OpenError},
    layout::Layout,
    machine::host_name,
    referrer_index::IndexOwner,
    staging::OwnerFile,
};
use rustix::fs::FlockOperation;
use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

/// Proof that this process owns a directory, held while it is open.
pub(crate) struct Owner {
    /// Released before the directory is.
    pub(crate) index: IndexOwner,
    _directory: DirectoryLock,
}

impl Owner {
    pub(crate) const fn new(directory: DirectoryLock, index: IndexOwner) -> Self {
        Self {
            index,
            _directory: directory,
        }
    }
}

/// The lock on a directory. The kernel releases it, however the process ends.
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Locks the directory `root`, which can be written.
    pub(crate) fn take(layout: &Layout, root: &Path) -> Result<Self, OpenError> {
        let path = layout.owner();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .at("create", &path)
            .map_err(|error| OpenError::not_writable(root, error.into_source()))?;
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

    /// Identifies the locked file, so that a check finds one that took its place.
    pub(crate) fn locked_file(&self, layout: &Layout) -> Result<Option<OwnerFile>, FsError> {
        let path = layout.owner();
        OwnerFile::of(&self.file, &path).at("read the metadata of", &path)
    }
}
