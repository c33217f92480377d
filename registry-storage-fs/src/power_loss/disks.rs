//! The disk as a loss of power leaves it, from a record of everything that was synced.

use crate::{FsStorage, support};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;

/// Synced state below each watched directory.
static WATCHED: Mutex<BTreeMap<PathBuf, Platter>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Platter {
    files: HashMap<u64, Vec<u8>>,
    directories: HashMap<u64, BTreeMap<OsString, u64>>,
    /// Open files by inode. The inode of an open file is not reused.
    open: HashMap<u64, File>,
    /// Number of acknowledged operations.
    acknowledged: usize,
    failures: Vec<Failure>,
    /// Paths whose syncs have no effect.
    unsynced: Option<fn(&Path) -> bool>,
    /// An action of another operation when a directory is about to be synced, once.
    meanwhile: Option<(PathBuf, Box<dyn FnOnce() + Send>)>,
}

/// The disk after the power has failed.
pub(super) struct Failure {
    pub(super) disk: TempDir,
    pub(super) acknowledged: usize,
    pub(super) how: &'static str,
}

/// Creates a directory in memory if possible, since syncs are only recorded.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Records the present state of a path as synced.
pub(crate) fn synced(top: &Path, path: &Path) {
    let meanwhile = {
        let mut watched = watched();
        let meanwhile = watched.get_mut(top).map(|platter| &mut platter.meanwhile);
        meanwhile.and_then(|planned| planned.take_if(|(at, _)| at == path))
    };
    if let Some((_, act)) = meanwhile {
        act();
    }
    let mut watched = watched();
    let Some(platter) = watched.get_mut(top) else {
        return;
    };
    // Just before; after it is before the next one.
    platter.fail(top);
    if platter.unsynced.is_some_and(|unsynced| unsynced(path)) {
        return;
    }
    // Another operation may have removed it.
    let Ok(file) = File::open(path) else {
        return;
    };
    let metadata = file.metadata().unwrap();
    if metadata.is_dir() {
        let entries = entries(path, &mut platter.open);
        platter.directories.insert(metadata.ino(), entries);
    } else {
        platter.files.insert(metadata.ino(), fs::read(path).unwrap());
    }
    platter.open.insert(metadata.ino(), file);
}

fn watched() -> MutexGuard<'static, BTreeMap<PathBuf, Platter>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entries(directory: &Path, open: &mut HashMap<u64, File>) -> BTreeMap<OsString, u64> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let found = entries.flatten().filter_map(|entry| {
        // Another operation may be about to take it away.
        let file = File::open(entry.path()).ok()?;
        let inode = file.metadata().ok()?.ino();
        open.insert(inode, file);
        Some((entry.file_name(), inode))
    });
    found.collect()
}

impl Platter {
    fn fail(&mut self, top: &Path) {
        let inode = fs::metadata(top).unwrap().ino();
        for how in ["synced alone", "names and synced content", "everything"] {
            let disk = scratch();
            let copy = support::top(disk.path());
            fs::create_dir_all(&copy).unwrap();
            match how {
                "synced alone" => self.directory(inode, &copy),
                how => self.as_it_is(top, &copy, how == "everything"),
            }
            let acknowledged = self.acknowledged;
            self.failures.push(Failure {
                disk,
                acknowledged,
                how,
            });
        }
    }

    fn directory(&self, inode: u64, copy: &Path) {
        for (name, inode) in self.directories.get(&inode).into_iter().flatten() {
            let path = copy.join(name);
            if self.is_directory(*inode) {
                fs::create_dir(&path).unwrap();
                self.directory(*inode, &path);
            } else {
                fs::write(path, self.files.get(inode).map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
    }

    fn is_directory(&self, inode: u64) -> bool {
        let file = self.open.get(&inode);
        file.is_some_and(|file| file.metadata().unwrap().is_dir())
    }

    fn as_it_is(&self, directory: &Path, copy: &Path, content: bool) {
        // What another operation removes meanwhile may be missing.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, copy) = (entry.path(), copy.join(entry.file_name()));
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                fs::create_dir(&copy).unwrap();
                self.as_it_is(&path, &copy, content);
            } else if content {
                if let Ok(content) = fs::read(&path) {
                    fs::write(&copy, content).unwrap();
                }
            } else {
                let synced = self.files.get(&metadata.ino());
                fs::write(copy, synced.map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
    }
}

/// A directory whose disk is watched from when it is opened.
pub(super) struct Watched {
    pub(super) root: TempDir,
    pub(super) storage: FsStorage,
}

impl Watched {
    pub(super) fn open(root: TempDir) -> Self {
        let top = support::top(root.path());
        watched().insert(top, Platter::default());
        let storage = FsStorage::open(root.path()).unwrap();
        Self { root, storage }
    }

    /// Records that one more operation was acknowledged; returns its number.
    pub(super) fn acknowledged(&self) -> usize {
        let top = support::top(self.root.path());
        let mut watched = watched();
        let platter = watched.get_mut(&top).unwrap();
        platter.acknowledged += 1;
        platter.fail(&top);
        platter.acknowledged
    }

    pub(super) fn end(self) -> Vec<Failure> {
        let top = support::top(self.root.path());
        watched().remove(&top).unwrap().failures
    }

    /// Makes syncs of some paths have no effect from now on.
    pub(super) fn without_syncs(&self, unsynced: Option<fn(&Path) -> bool>) {
        let top = support::top(self.root.path());
        let mut watched = watched();
        watched.get_mut(&top).unwrap().unsynced = unsynced;
    }

    /// Performs `act` when this directory is about to be synced.
    pub(super) fn meanwhile(&self, directory: PathBuf, act: impl FnOnce() + Send + 'static) {
        let top = support::top(self.root.path());
        let mut watched = watched();
        watched.get_mut(&top).unwrap().meanwhile = Some((directory, Box::new(act)));
    }
}
