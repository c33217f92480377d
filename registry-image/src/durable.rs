//! Files that appear whole or not at all, and persist.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// End of the name of a file that is incomplete.
pub(crate) const PARTIAL: &str = ".partial";

/// The lock on an open file or directory. The kernel releases it, however the process ends.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn take(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    /// Unlocks the file, which a child process may still have open: one that has begun and does not run its program yet.
    fn drop(&mut self) {
        // Otherwise the lock ends with the last of them.
        let _ = self.0.unlock();
    }
}

/// Returns the name that a file has until it is complete.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

/// Creates a file in place of one that was left. A link with its name is replaced, not followed.
///
/// The file is locked until it is closed. The error is of the kind `WouldBlock` if another one writes under this name.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(left) if left.is_file() => {
            let left = File::open(path)?;
            // Only who has its lock removes a file, so one that is written stays.
            lock(&left, path)?;
            fs::remove_file(path)?;
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => busy(),
        _ => error,
    })?;
    lock(&file, path)?;
    Ok(file)
}

/// Locks a file, unless another one has its lock or has removed it.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => busy(),
        TryLockError::Error(error) => error,
    })?;
    let locked = file.metadata()?;
    let is_same = |named: &fs::Metadata| (named.dev(), named.ino()) == (locked.dev(), locked.ino());
    match fs::symlink_metadata(path) {
        Ok(named) if is_same(&named) => Ok(()),
        Ok(_) => Err(busy()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(busy()),
        Err(error) => Err(error),
    }
}

fn busy() -> io::Error {
    let reason = "another call or process writes it; wait for its end";
    io::Error::new(io::ErrorKind::WouldBlock, reason)
}

/// Gives a complete file its name. The file has to be open still, because its lock keeps others from replacing it.
pub(crate) fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    fs::rename(partial, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(directory.unwrap_or_else(|| Path::new(".")))
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = partial(path);
    let mut file = create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    publish(&partial, path)
}

pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_although_a_child_still_has_the_directory_open() {
        let directory = tempfile::tempdir().unwrap();
        let lock = || Lock::take(File::open(directory.path()).unwrap());
        let held = lock().unwrap();
        let inherited = held.0.try_clone().unwrap();
        assert!(lock().is_err());

        drop(held);

        drop(lock().unwrap());
        drop(inherited);
    }
}
