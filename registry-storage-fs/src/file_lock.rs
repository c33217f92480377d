//! [`FileLock`]: a lock on an open file, between processes.

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{fs::File, ops::Deref};

/// A locked file. The kernel releases the lock, however the process ends.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Locks a file, unless another one has any lock on it.
    pub(crate) fn exclusive(file: File) -> Result<Self, (File, Errno)> {
        Self::take(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Locks a file together with others that share it, unless another one has an exclusive lock on it.
    pub(crate) fn shared(file: File) -> Result<Self, (File, Errno)> {
        Self::take(file, FlockOperation::NonBlockingLockShared)
    }

    /// Returns the file with [`Errno::WOULDBLOCK`] if it is locked, and with another error if that cannot be told.
    fn take(file: File, operation: FlockOperation) -> Result<Self, (File, Errno)> {
        match flock(&file, operation) {
            Ok(()) => Ok(Self(file)),
            Err(errno) => Err((file, errno)),
        }
    }
}

impl Deref for FileLock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    /// Unlocks the file, which a child process may still have open: one that has begun and does not run its program yet.
    fn drop(&mut self) {
        // Otherwise the lock ends with the last of them.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_although_a_child_still_has_the_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("locked");
        std::fs::write(&path, "").unwrap();
        let open = || File::open(&path).unwrap();
        for lock in [FileLock::exclusive, FileLock::shared] {
            let held = lock(open()).unwrap();
            let inherited = held.try_clone().unwrap();
            assert_eq!(FileLock::exclusive(open()).unwrap_err().1, Errno::WOULDBLOCK);

            drop(held);

            drop(FileLock::exclusive(open()).unwrap());
            drop(inherited);
        }
    }
}
