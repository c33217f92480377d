//! Renames, moves and removals, repeated if other operations interfere with them.

use crate::error::{Context as _, FsError};
use std::{fs, io, path::Path};

/// Maximum number of attempts to create the directories on the way to an entry. Other operations remove only empty
/// directories, so each attempt is likely to succeed. The limit is for faulty file systems.
const TRIES: usize = 1000;

/// Returns true if there is anything at a path, even a dangling symbolic link.
pub(crate) fn is_there(path: &Path) -> Result<bool, FsError> {
    let there = fs::symlink_metadata(path).if_there("read the metadata of", path)?;
    Ok(there.is_some())
}

/// Removes a directory that cannot be renamed, such as one of a lower layer of an overlay file system. Its pointer is
/// removed first, which ends it for readers.
pub(crate) fn remove_in_place(directory: &Path, pointer: &Path) -> Result<(), FsError> {
    fs::remove_file(pointer).if_there("remove", pointer)?;
    for _ in 1..TRIES {
        match fs::remove_dir_all(directory) {
            // Another operation, which had found the directory before, has created a file.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed.if_there("remove", directory).map(|_| ()),
        }
    }
    fs::remove_dir_all(directory).at("remove", directory)
}

/// Moves a directory that cannot be renamed, file by file.
pub(crate) fn move_entries(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::create_dir(to).at("create", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match fs::rename(&path, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_entries(&path, &to)?,
            moved => moved.at("quarantine", &path)?,
        }
    }
    fs::remove_dir(from).at("remove", from)
}

/// Renames a file or directory. Missing directories on the way are created, repeatedly if another operation removes
/// them while they are empty.
pub(crate) fn rename_making_way(from: &Path, to: &Path) -> Result<(), FsError> {
    let directory = parent(to);
    #[cfg(test)]
    if crate::power_loss::published(from, to) {
        return Ok(());
    }
    for _ in 1..TRIES {
        match fs::rename(from, to) {
            // Only a missing target directory is created. A missing source is an error.
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.symlink_metadata().is_ok() => {}
            renamed => return renamed.at("publish", to),
        }
        create_all(directory)?;
    }
    fs::rename(from, to).at("publish", to)
}

/// Creates a directory and its missing parents.
pub(crate) fn create_all(directory: &Path) -> Result<(), FsError> {
    for _ in 1..TRIES {
        match fs::create_dir_all(directory) {
            // Another operation has removed the directory or one of its parents meanwhile.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) => {}
            made => return made.at("create", directory),
        }
    }
    fs::create_dir_all(directory).at("create", directory)
}

/// Returns the parent of a path. Every path of the layout has one, since it lies below the root.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::fail;
    use rustix::io::Errno;

    #[test]
    fn what_cannot_be_renamed_is_gone_with_its_pointer_first() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("tags/v1");
        let (pointer, history) = (directory.join("current/link"), directory.join("index/link"));
        for file in [&pointer, &history] {
            fs::create_dir_all(parent(file)).unwrap();
            fs::write(file, "x").unwrap();
        }
        let fault = fail(&pointer, Errno::IO);

        assert!(remove_in_place(&directory, &pointer).is_err());
        assert!(history.exists(), "nothing but the pointer was tried");

        drop(fault);
        remove_in_place(&directory, &pointer).unwrap();
        assert!(!directory.exists());
    }
}
