//! Durable writes: write a staged file, sync it, rename it, sync its directory, in that order and nowhere else.
//!
//! Every visible file appears by a rename, so no reader and no crash ever shows half of one. [`Changes`] is what one
//! operation does to the directory: its files are synced before they get their names, and [`Changes::settle`] makes
//! the names durable. Only then may the operation be acknowledged. With [`Durability::Relaxed`] the order is the same
//! and nothing is synced.
//!
//! A name is durable once each directory on the way to it was synced after it got its own name. A new directory may
//! come from an operation that still runs, or from a process that died before its sync. Its existence therefore proves
//! nothing, and [`Disk`] remembers the directories that it has synced itself. The same holds for files that an
//! operation finds and builds upon, such as the blobs of a manifest: [`Changes::ensure_durable`].
//!
//! [`Disk::remove_empty`] removes empty directories while other operations create entries in them. An operation that
//! creates an entry therefore creates its directories again whenever they disappear.

use crate::{
    directories::Directories,
    error::{Context, FsError},
    staging::{Staged, Staging},
    stored_file,
};
use std::{
    collections::HashSet,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Failures that an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power loss: data is synced and renamed, and its directories are synced. The default.
    #[default]
    Full,
    /// Survives the end of the process. A power loss may cost writes acknowledged within the last half minute or so.
    /// It may leave names without content; these count as absent, and the next push repairs them.
    Relaxed,
}

/// Maximum number of files remembered as durable. A forgotten one costs two syncs of clean data when it is built upon
/// again.
const REMEMBERED_FILES: usize = 65_536;
/// Maximum number of attempts to create the directories on the way to an entry. Other operations remove only empty
/// directories, so each attempt is likely to succeed. The bound is for file systems that give wrong answers.
const TRIES: usize = 1000;

/// The writing side of a directory.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Directory that contains everything. It and its parents are durable from opening on.
    top: PathBuf,
    staging: Staging,
    durability: Durability,
    directories: Directories,
    files: Mutex<DurableFiles>,
}

/// Files whose content and name are durable, as far as this process knows.
#[derive(Debug, Default)]
struct DurableFiles {
    /// Hashes of their paths.
    known: HashSet<u64>,
    hasher: RandomState,
    /// Number of removed files. An operation that began before the last removal may have synced a name that is gone.
    removals: u64,
    /// Number of removals in progress. No file is remembered meanwhile.
    leaving: usize,
}

impl DurableFiles {
    fn number(&self, path: &Path) -> u64 {
        self.hasher.hash_one(path)
    }
}

impl Disk {
    pub(crate) fn new(top: &Path, staging: Staging, durability: Durability) -> Self {
        Self {
            top: top.to_path_buf(),
            staging,
            durability,
            directories: Directories::default(),
            files: Mutex::default(),
        }
    }

    /// See [`Staging::stage`].
    pub(crate) fn stage(&self) -> Result<Staged, FsError> {
        self.staging.stage()
    }

    /// See [`Staging::require_owned`].
    pub(crate) fn require_owned(&self) -> Result<(), FsError> {
        self.staging.require_owned()
    }

    /// Begins the changes of one operation.
    pub(crate) fn changes(&self) -> Changes<'_> {
        Changes {
            disk: self,
            touched: Vec::new(),
            given: Vec::new(),
            removed_files: self.files().removals,
            removed_directories: self.directories.removals(),
        }
    }

    /// Replaces a file whose directory exists. The new content survives the end of the process, but not a power loss.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let staged = self.stage()?;
        fs::write(&staged.path, bytes).at("write", &staged.path)?;
        fs::rename(&staged.path, target).at("rename into place", target)
    }

    /// Syncs the content of an open file.
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), FsError> {
        match self.durability {
            Durability::Full => {
                #[cfg(test)]
                crate::power_loss::synced(&self.top, path);
                file.sync_data().at("sync", path)
            }
            Durability::Relaxed => Ok(()),
        }
    }

    /// Returns true if [`sync_data`](Self::sync_data) syncs.
    pub(crate) fn syncs(&self) -> bool {
        self.durability == Durability::Full
    }

    /// Removes a directory with everything in it, at once for readers; returns false if there is none. Only for
    /// sessions, since nothing in them is remembered as durable. Readers ignore a directory without its file
    /// `pointer`.
    pub(crate) fn discard(&self, directory: &Path, pointer: &Path) -> Result<bool, FsError> {
        let staged = self.stage()?;
        match fs::rename(directory, &staged.path) {
            // Also where the staging area has gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(directory)? => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                remove_in_place(directory, pointer)?;
                Ok(true)
            }
            moved => moved.at("move away", directory).map(|()| true),
        }
    }

    /// Removes a directory if it is empty, and then its empty parents up to `top`, which stays.
    ///
    /// Best effort: an empty directory that cannot be removed stays.
    pub(crate) fn remove_empty(&self, directory: &Path, top: &Path) {
        for directory in directory.ancestors().take_while(|directory| *directory != top) {
            match self.remove_if_empty(directory) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "a directory that holds nothing stays");
                    return;
                }
            }
        }
    }

    /// Removes a directory if it is empty. Returns true if it is gone.
    fn remove_if_empty(&self, directory: &Path) -> Result<bool, FsError> {
        // Before it is forgotten: most are not empty, and would be synced again.
        let Some(mut entries) = fs::read_dir(directory).if_there("list", directory)? else {
            return Ok(true);
        };
        if entries.next().is_some() {
            return Ok(false);
        }
        let leaving = self.directories.forget(directory);
        match fs::remove_dir(directory) {
            Ok(()) => {
                leaving.gone();
                Ok(true)
            }
            // It has got something, or is a link to a directory elsewhere.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            other => Ok(other.if_there("remove", directory)?.is_none()),
        }
    }

    /// Syncs a directory; returns false if it is gone. The absence of the top directory is an error.
    fn sync_if_there(&self, directory: &Path) -> Result<bool, FsError> {
        match self.sync_directory(directory) {
            Err(error) if error.is_absence() && directory != self.top => Ok(false),
            other => other.map(|()| true),
        }
    }

    pub(crate) fn sync_directory(&self, directory: &Path) -> Result<(), FsError> {
        match self.durability {
            Durability::Full => {
                #[cfg(test)]
                crate::power_loss::synced(&self.top, directory);
                File::open(directory)
                    .and_then(|open| open.sync_all())
                    .at("sync", directory)
            }
            Durability::Relaxed => Ok(()),
        }
    }

    fn files(&self) -> MutexGuard<'_, DurableFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if the content and the name of a file are known to be durable.
    pub(crate) fn is_durable(&self, path: &Path) -> bool {
        let files = self.files();
        files.known.contains(&files.number(path))
    }

    /// Forgets a file before it is removed. Otherwise a file put in its place at once would be taken for durable.
    fn leave(&self, path: &Path) -> LeavingFile<'_> {
        let mut files = self.files();
        let number = files.number(path);
        files.known.remove(&number);
        files.leaving += 1;
        LeavingFile {
            disk: self,
            is_gone: false,
        }
    }
}

/// A file that is being removed. No file is remembered as durable until this is dropped.
#[derive(Debug)]
struct LeavingFile<'a> {
    disk: &'a Disk,
    is_gone: bool,
}

impl LeavingFile<'_> {
    /// Records that the file has been removed.
    fn gone(mut self) {
        self.is_gone = true;
    }
}

impl Drop for LeavingFile<'_> {
    fn drop(&mut self) {
        let mut files = self.disk.files();
        files.leaving -= 1;
        files.removals += u64::from(self.is_gone);
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

    /// Does the same for a file on which no promise rests. If it exists it is whole, but it may be gone after a power
    /// loss, because its directories are not synced.
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
        // Whoever wrote it may not have synced it yet, or never meant to.
        self.disk.sync_data(&file, target)?;
        self.give(target);
        Ok(())
    }

    /// Makes an existing file durable, whoever left it: a process that died before the sync, one that never syncs, or
    /// a running operation. A file that builds upon it must not be durable before it is.
    pub(crate) fn ensure_durable(&mut self, target: &Path) -> Result<(), FsError> {
        if !self.disk.syncs() || self.disk.is_durable(target) {
            return Ok(());
        }
        if let Some(file) = stored_file::open(target).if_there("open", target)?
            && file.metadata().at("look at", target)?.is_file()
        {
            self.disk.sync_data(&file, target)?;
            self.give(target);
        }
        Ok(())
    }

    /// Gives a file its name, in place of an existing one. The file was written and synced elsewhere below the same
    /// root.
    pub(crate) fn publish(&mut self, from: &Path, target: &Path) -> Result<(), FsError> {
        rename_making_way(from, target)?;
        self.give(target);
        Ok(())
    }

    /// Gives a staged directory its name; returns false if there is a directory already that is not empty.
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
        let leaving = self.disk.leave(target);
        let removed = fs::remove_file(target).if_there("remove", target)?.is_some();
        if removed {
            leaving.gone();
            self.touch(target);
        }
        Ok(removed)
    }

    /// Moves a file or directory to a new name.
    pub(crate) fn set_aside(&mut self, from: &Path, to: &Path) -> Result<(), FsError> {
        let leaving = self.disk.leave(from);
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_entries(from, to)?,
            moved => moved.at("set aside", from)?,
        }
        leaving.gone();
        self.touch(from);
        self.touch(to);
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

    /// Records that a file whose content is synced has got a name.
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

    /// Makes all names durable: syncs each directory that got or lost an entry, and its parents that are not known to
    /// be durable, each once.
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
                // One that is gone took its entries with it: then the one above it has changed.
                if directory == self.disk.top || is_there && self.disk.directories.is_durable(directory) {
                    break;
                }
                directory = parent(directory);
            }
        }
        self.disk
            .directories
            .remember(synced.into_iter(), self.removed_directories);
        let mut files = self.disk.files();
        if files.removals == self.removed_files && files.leaving == 0 {
            if files.known.len() + self.given.len() > REMEMBERED_FILES {
                files.known.clear();
            }
            let given: Vec<u64> = self.given.iter().map(|path| files.number(path)).collect();
            files.known.extend(given);
        }
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

fn is_there(path: &Path) -> Result<bool, FsError> {
    let there = fs::symlink_metadata(path).if_there("look at", path)?;
    Ok(there.is_some())
}

/// Removes a directory that cannot be renamed, such as one of a lower layer of an overlay file system. Its pointer is
/// removed first, which ends it for readers.
fn remove_in_place(directory: &Path, pointer: &Path) -> Result<(), FsError> {
    fs::remove_file(pointer).if_there("remove", pointer)?;
    for _ in 1..TRIES {
        match fs::remove_dir_all(directory) {
            // Somebody who had found it before made one more file.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed.if_there("remove", directory).map(|_| ()),
        }
    }
    fs::remove_dir_all(directory).at("remove", directory)
}

/// Moves a directory that cannot be renamed, file by file.
fn move_entries(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::create_dir(to).at("create", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match fs::rename(&path, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_entries(&path, &to)?,
            moved => moved.at("set aside", &path)?,
        }
    }
    fs::remove_dir(from).at("remove", from)
}

/// Renames a file or directory. Missing directories on the way are created, repeatedly if another operation removes
/// them while they are empty.
pub(crate) fn rename_making_way(from: &Path, to: &Path) -> Result<(), FsError> {
    let directory = parent(to);
    for _ in 1..TRIES {
        match fs::rename(from, to) {
            // Of the two that may be missing, only the one is made.
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.symlink_metadata().is_ok() => {}
            renamed => return renamed.at("rename into place", to),
        }
        create_all(directory)?;
    }
    fs::rename(from, to).at("rename into place", to)
}

/// Creates a directory and its missing parents.
fn create_all(directory: &Path) -> Result<(), FsError> {
    for _ in 1..TRIES {
        match fs::create_dir_all(directory) {
            // One above it has gone while the next was made, or it was there and has gone before it was looked at.
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

/// Returns the parent of a path. Every path of the layout has one, since it lies below the root.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::fail;
    use rustix::io::Errno;

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

        // It cannot be removed; until that is known, it may be gone.
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert!(disk.changes().remove(&target).is_err());
        assert!(!disk.is_durable(&target));

        fs::remove_dir(&target).unwrap();
        let leaving = disk.leave(&target);
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

    /// An operation that finds it as durable in between would build upon a directory that is gone.
    #[test]
    fn a_directory_is_forgotten_before_it_is_removed() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (emptied, discarded) = (top.path().join("all/emptied"), top.path().join("all/discarded"));
        for directory in [&emptied, &discarded] {
            let mut changes = disk.changes();
            changes.make(directory).unwrap();
            changes.settle().unwrap();
            assert!(disk.directories.is_durable(directory));
        }
        // A directory by its name, and it cannot be removed as one.
        let elsewhere = top.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::remove_dir(&emptied).unwrap();
        std::os::unix::fs::symlink(elsewhere, &emptied).unwrap();
        let _fault = fail(&discarded, Errno::IO);

        disk.remove_empty(&emptied, &top.path().join("all"));
        assert!(
            disk.changes()
                .discard(&discarded, &discarded.join("link"))
                .is_err()
        );

        assert!(emptied.exists());
        assert!(!disk.directories.is_durable(&emptied) && !disk.directories.is_durable(&discarded));
    }

    #[test]
    fn what_cannot_be_moved_away_for_want_of_a_staging_area_is_not_called_absent() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (session, staging) = (top.path().join("session"), top.path().join("_staging"));
        fs::create_dir(&session).unwrap();
        // A name that leads nowhere, and cannot be made a directory.
        fs::remove_dir(&staging).unwrap();
        std::os::unix::fs::symlink(top.path().join("nowhere"), &staging).unwrap();

        let absent = disk.discard(&top.path().join("absent"), &top.path().join("absent/link"));
        let there = disk.discard(&session, &session.join("link"));

        assert!(!absent.unwrap());
        assert!(there.is_err() && session.exists(), "{there:?}");
    }

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

    #[test]
    fn what_is_empty_is_removed_upwards_and_forgotten_and_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (kept, gone) = (top.path().join("all/a/kept"), top.path().join("all/a/b/c/d"));
        for file in [&kept, &gone.join("file")] {
            let mut changes = disk.changes();
            changes.put(file, b"x").unwrap();
            changes.settle().unwrap();
        }

        disk.remove_empty(&gone, &top.path().join("all"));
        assert!(
            gone.exists() && disk.directories.is_durable(&gone),
            "it holds something"
        );

        assert!(disk.changes().remove(&gone.join("file")).unwrap());
        disk.remove_empty(&gone, &top.path().join("all"));
        // Somebody else was quicker with some of them.
        disk.remove_empty(&gone, &top.path().join("all"));

        assert!(!top.path().join("all/a/b").exists() && kept.exists());
        for directory in ["all/a/b", "all/a/b/c", "all/a/b/c/d"] {
            assert!(!disk.directories.is_durable(&top.path().join(directory)));
        }
        assert!(disk.directories.is_durable(&top.path().join("all/a")));

        assert!(disk.changes().remove(&kept).unwrap());
        disk.remove_empty(&top.path().join("all/a"), &top.path().join("all"));
        assert!(top.path().join("all").exists());
        assert_eq!(fs::read_dir(top.path().join("all")).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_is_made_although_its_directories_are_removed_meanwhile() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let disk = &disk;
                let directory = top.path().join(format!("all/a/b/{}", thread % 2));
                let all = top.path().join("all");
                scope.spawn(move || {
                    for _ in 0..200 {
                        let file = directory.join(thread.to_string());
                        let mut changes = disk.changes();
                        changes.put(&file, b"x").unwrap();
                        changes.settle().unwrap();
                        let mut changes = disk.changes();
                        assert!(changes.remove(&file).unwrap());
                        disk.remove_empty(&directory, &all);
                        changes.settle().unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(top.path().join("all")).unwrap().count(), 0);
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
