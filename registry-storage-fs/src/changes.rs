//! Durable writes: write a staged file, sync it, rename it, sync its directory, in that order and nowhere else.
//!
//! Every visible file appears by a rename, so no reader and no crash ever shows half of one. [`Changes`] is what one
//! operation does to the directory: its files are synced before they get their names, and [`Changes::settle`] makes
//! the names durable. Only then may the operation be acknowledged. With
//! [`Durability::Relaxed`](crate::Durability::Relaxed) the order is the same and nothing is synced.
//!
//! A name is durable once each directory on the way to it was synced after it got its own name. A new directory may
//! come from an operation that still runs, or from a process that died before its sync. Its existence therefore proves
//! nothing, and [`Disk`] remembers the directories that it has synced itself. The same holds for files that an
//! operation finds and builds upon, such as the blobs of a manifest: [`Changes::ensure_durable`].
//!
//! [`Disk::remove_empty`] removes empty directories while other operations create entries in them. An operation that
//! creates an entry therefore creates its directories again whenever they disappear: [`moves`](crate::moves).

use crate::{
    disk::Disk,
    error::{Context, FsError},
    moves::{create_all, move_entries, parent, rename_making_way},
    staging::Staged,
    stored_file,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

impl Disk {
    /// Begins the changes of one operation.
    pub(crate) fn changes(&self) -> Changes<'_> {
        Changes {
            disk: self,
            touched: Vec::new(),
            given: Vec::new(),
            removed_files: self.files.removals(),
            removed_directories: self.directories.removals(),
        }
    }
}

/// Changes of one operation. Each is visible at once, and durable after [`settle`](Self::settle).
#[derive(Debug)]
#[must_use = "changes last only when they are settled"]
pub(crate) struct Changes<'a> {
    disk: &'a Disk,
    /// Directories in which an entry was added or removed.
    touched: Vec<PathBuf>,
    /// Files that exist and whose content is synced.
    given: Vec<PathBuf>,
    /// Number of files that had been removed when this began.
    removed_files: u64,
    /// Number of directories that had been removed when this began.
    removed_directories: u64,
}

impl Changes<'_> {
    /// Writes a file with these bytes, in place of an existing one.
    pub(crate) fn put(&mut self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        self.put_derived(target, bytes)?;
        self.give(target);
        Ok(())
    }

    /// Does the same for a derived file. If it exists it is complete, but it may be missing after a power loss, because
    /// its directories are not synced.
    pub(crate) fn put_derived(&self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let staged = self.write_staged(bytes)?;
        rename_making_way(&staged.path, target)
    }

    /// Ensures that a file has these bytes. An existing file that has them is kept.
    pub(crate) fn ensure(&mut self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let Some(file) = stored_file::open(target).if_there("open", target)? else {
            return self.put(target, bytes);
        };
        if !has_content(&file, bytes).at("read", target)? {
            return self.put(target, bytes);
        }
        // Another process or operation may have written it without a sync.
        self.disk.sync_data(&file, target)?;
        self.give(target);
        Ok(())
    }

    /// Makes an existing file durable. It may come from a process that died before the sync, from one that never syncs,
    /// or from a running operation. Call this before a file that depends on it becomes durable.
    pub(crate) fn ensure_durable(&mut self, target: &Path) -> Result<(), FsError> {
        if !self.disk.syncs() || self.disk.is_durable(target) {
            return Ok(());
        }
        if let Some(file) = stored_file::open(target).if_there("open", target)?
            && file.metadata().at("read the metadata of", target)?.is_file()
        {
            self.disk.sync_data(&file, target)?;
            self.give(target);
        }
        Ok(())
    }

    /// Publishes a file, in place of an existing one. It was written and synced elsewhere below the same root.
    pub(crate) fn publish(&mut self, from: &Path, target: &Path) -> Result<(), FsError> {
        rename_making_way(from, target)?;
        self.give(target);
        Ok(())
    }

    /// Publishes a staged directory; returns false if there is already a directory that is not empty.
    ///
    /// The kernel renames a directory only over an empty one, so nothing is replaced. `inside` is the one file in it
    /// whose name must be durable.
    pub(crate) fn place(&mut self, staged: &Staged, inside: &Path, target: &Path) -> Result<bool, FsError> {
        for directory in inside.ancestors().skip(1) {
            self.disk.sync_directory(directory)?;
            if directory == staged.path {
                break;
            }
        }
        match rename_making_way(&staged.path, target) {
            Ok(()) => {
                self.touch(target);
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a file into a staged directory, which need not exist yet.
    pub(crate) fn fill(&self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let directory = parent(target);
        fs::create_dir_all(directory).at("create", directory)?;
        self.write_synced(target, bytes)
    }

    /// Creates a directory, even if it stays empty. Returns false if it is known to exist and to be durable.
    pub(crate) fn make(&mut self, directory: &Path) -> Result<bool, FsError> {
        if self.disk.directories.is_durable(directory) {
            return Ok(false);
        }
        create_all(directory)?;
        self.touched.push(directory.to_path_buf());
        Ok(true)
    }

    /// Removes a file; returns false if there was none.
    pub(crate) fn remove(&mut self, target: &Path) -> Result<bool, FsError> {
        let leaving = self.disk.files.forget(target);
        let removed = fs::remove_file(target).if_there("remove", target)?.is_some();
        if removed {
            leaving.gone();
            self.touch(target);
        }
        Ok(removed)
    }

    /// Moves a file or directory to a new name.
    pub(crate) fn set_aside(&mut self, from: &Path, to: &Path) -> Result<(), FsError> {
        let leaving = self.disk.files.forget(from);
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_entries(from, to)?,
            moved => moved.at("quarantine", from)?,
        }
        leaving.gone();
        // The new name is durable before the old one is gone.
        self.touch(to);
        self.touch(from);
        Ok(())
    }

    /// Removes a directory, at once for readers; returns false if there was none.
    pub(crate) fn discard(&mut self, target: &Path, pointer: &Path) -> Result<bool, FsError> {
        let leaving = self.disk.directories.forget(target);
        let discarded = self.disk.discard(target, pointer)?;
        if discarded {
            leaving.gone();
            self.touch(target);
        }
        Ok(discarded)
    }

    /// Records that a file with synced content was published.
    fn give(&mut self, target: &Path) {
        self.touch(target);
        self.given.push(target.to_path_buf());
    }

    /// Records that the directory of this name has changed.
    fn touch(&mut self, target: &Path) {
        let directory = parent(target);
        if !self.touched.iter().any(|touched| touched == directory) {
            self.touched.push(directory.to_path_buf());
        }
    }

    /// Makes all names durable. Syncs each directory in which an entry was added or removed, and its parents that are
    /// not known to be durable, each once.
    pub(crate) fn settle(self) -> Result<(), FsError> {
        if !self.disk.syncs() {
            return Ok(());
        }
        let mut synced: Vec<&Path> = Vec::new();
        for touched in &self.touched {
            let mut directory = touched.as_path();
            loop {
                let is_synced = synced.contains(&directory);
                let is_there = is_synced || self.disk.sync_if_there(directory)?;
                if is_there && !is_synced {
                    synced.push(directory);
                }
                // If the directory is gone, its parent has changed instead.
                if directory == self.disk.top || is_there && self.disk.directories.is_durable(directory) {
                    break;
                }
                directory = parent(directory);
            }
        }
        self.disk
            .directories
            .remember(synced.into_iter(), self.removed_directories);
        self.disk.files.remember(&self.given, self.removed_files);
        Ok(())
    }

    fn write_staged(&self, bytes: &[u8]) -> Result<Staged, FsError> {
        let staged = self.disk.stage()?;
        self.write_synced(&staged.path, bytes)?;
        Ok(staged)
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let mut file = File::create_new(path).at("create", path)?;
        file.write_all(bytes).at("write", path)?;
        self.disk.sync_data(&file, path)
    }
}

fn has_content(file: &File, bytes: &[u8]) -> io::Result<bool> {
    use std::io::Read;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut stored = Vec::with_capacity(bytes.len());
    file.take(bytes.len() as u64 + 1).read_to_end(&mut stored)?;
    Ok(stored == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, staging::Staging};

    fn disk(top: &Path) -> Disk {
        let staging = top.join("_staging");
        fs::create_dir_all(&staging).unwrap();
        Disk::new(top, Staging::new(staging, None), Durability::Full)
    }

    fn is_staged_empty(disk: &Disk) -> bool {
        let staging = disk.top.join("_staging");
        fs::read_dir(staging).unwrap().next().is_none()
    }

    #[test]
    fn a_file_appears_whole_with_its_directories_and_nothing_stays_staged() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("a/b/c");

        let mut changes = disk.changes();
        changes.put(&target, b"one").unwrap();
        changes.put(&target, b"two").unwrap();
        changes.settle().unwrap();

        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert!(is_staged_empty(&disk));
        assert!(
            ["a", "a/b"]
                .iter()
                .all(|directory| disk.directories.is_durable(&top.path().join(directory)))
        );
    }

    #[test]
    fn what_fails_leaves_nothing_staged() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("a");
        fs::create_dir_all(target.join("in the way")).unwrap();

        assert!(disk.changes().put(&target, b"one").is_err());

        assert!(is_staged_empty(&disk));
    }

    /// A pipe cannot be synced; its name says nothing about the file that will replace it.
    #[test]
    fn pipes_and_directories_where_files_belong_are_not_made_to_last() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let [pipe, directory] = ["pipe", "directory"].map(|name| top.path().join(name));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::create_dir(&directory).unwrap();

        for path in [&pipe, &directory] {
            let mut changes = disk.changes();
            changes.ensure_durable(path).unwrap();
            changes.settle().unwrap();

            assert!(!disk.is_durable(path), "{path:?}");
        }
    }

    #[test]
    fn a_file_that_has_the_bytes_stays_and_any_other_is_replaced() {
        use std::os::unix::fs::MetadataExt;
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("a");
        let inode = || fs::metadata(&target).unwrap().ino();
        disk.changes().ensure(&target, b"one").unwrap();
        let first = inode();

        disk.changes().ensure(&target, b"one").unwrap();
        assert_eq!(inode(), first);

        for damaged in ["", "two", "one more"] {
            fs::write(&target, damaged).unwrap();
            disk.changes().ensure(&target, b"one").unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"one");
        }
    }

    #[test]
    fn a_directory_is_placed_whole_and_replaces_nothing() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("tags/v1");
        let place = |content: &[u8]| {
            let staged = disk.stage().unwrap();
            let inside = staged.path.join("current/link");
            let mut changes = disk.changes();
            changes.fill(&inside, content).unwrap();
            changes.place(&staged, &inside, &target).unwrap()
        };

        assert!(place(b"one"));
        assert!(!place(b"two"));

        assert_eq!(fs::read(target.join("current/link")).unwrap(), b"one");
        assert!(is_staged_empty(&disk));
    }

    #[test]
    fn a_directory_that_went_away_is_not_taken_to_last_when_it_comes_back() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let directory = top.path().join("tags/v1");
        let mut changes = disk.changes();
        changes.put(&directory.join("current/link"), b"one").unwrap();
        changes.settle().unwrap();
        assert!(disk.directories.is_durable(&directory));

        assert!(
            disk.changes()
                .discard(&directory, &directory.join("current/link"))
                .unwrap()
        );

        assert!(!directory.exists() && is_staged_empty(&disk));
        assert!(!disk.directories.is_durable(&directory));
        assert!(!disk.directories.is_durable(&directory.join("current")));
        assert!(
            !disk
                .changes()
                .discard(&directory, &directory.join("current/link"))
                .unwrap()
        );
    }

    #[test]
    fn a_file_is_forgotten_before_it_is_removed_and_not_remembered_until_it_is() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("a/link");
        let push = || {
            let mut changes = disk.changes();
            changes.ensure(&target, b"one").unwrap();
            changes.settle().unwrap();
            disk.is_durable(&target)
        };
        assert!(push());

        // The removal fails. Until that is known, the file counts as removed.
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert!(disk.changes().remove(&target).is_err());
        assert!(!disk.is_durable(&target));

        fs::remove_dir(&target).unwrap();
        let leaving = disk.files.forget(&target);
        assert!(!push());
        drop(leaving);
        assert!(push());
    }

    #[test]
    fn a_file_that_goes_while_it_is_made_to_last_is_not_taken_to_last() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let target = top.path().join("a/link");

        let mut changes = disk.changes();
        changes.put(&target, b"one").unwrap();
        assert!(disk.changes().remove(&target).unwrap());
        changes.settle().unwrap();

        assert!(!disk.is_durable(&target));
    }

    #[test]
    fn what_is_not_there_makes_no_directories_on_its_way() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());

        let missing = disk
            .changes()
            .publish(&top.path().join("missing"), &top.path().join("a/b"))
            .unwrap_err();

        assert!(missing.is_absence());
        assert!(!top.path().join("a").exists());
    }
}
