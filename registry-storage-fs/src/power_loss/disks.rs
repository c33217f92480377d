//! The disk as a loss of power leaves it, from a record of everything that was synced.

use super::losses::{Choice, Inode, Losses, Tree, Write};
use crate::{FsStorage, support};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::{self, File, Metadata},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;

/// Synced state below each watched directory.
static WATCHED: Mutex<BTreeMap<PathBuf, Platter>> = Mutex::new(BTreeMap::new());

/// Content of the directory that has none of these after a start: the staging area is emptied.
const TRANSIENT: [&str; 3] = ["_control", "_owner", "_staging"];

#[derive(Default)]
struct Platter {
    synced: Tree,
    /// Open files by inode. The inode of an open file is not reused.
    open: HashMap<Inode, File>,
    losses: Losses,
    /// Number of acknowledged operations.
    acknowledged: usize,
    failures: Vec<Failure>,
    /// Hashes of the failures, each with the number of acknowledged operations.
    seen: HashSet<u64>,
    /// Everything that was done, in this order.
    log: Vec<(Step, PathBuf)>,
    /// Staged names, with the names under which they were published.
    published: Vec<(PathBuf, PathBuf)>,
    /// True if failures are of interest before the operation under test begins.
    fails_before: bool,
    /// True while the steps are those of the operation under test.
    examines: bool,
    /// Numbers of the steps of the operation under test.
    examined: Vec<usize>,
    /// Numbers of the steps that are left out.
    omitted: BTreeSet<usize>,
    /// An action of another operation when a directory is about to be synced, once.
    meanwhile: Option<(PathBuf, Box<dyn FnOnce() + Send>)>,
}

/// One of the steps on which durability rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The content of a file, or the entries of a directory.
    Sync,
    /// A staged file or directory gets its name.
    Rename,
    /// A directory loses its name, before its content goes.
    Discard,
}

/// Files with their content, and directories, by path.
pub(super) type Image = BTreeMap<PathBuf, Option<Arc<[u8]>>>;

/// The disk after the power has failed.
pub(super) struct Failure {
    image: Image,
    pub(super) acknowledged: usize,
    pub(super) how: String,
    /// True if nothing was lost but the process.
    pub(super) is_whole: bool,
    /// True if no operation was going on.
    pub(super) is_at_rest: bool,
    /// True if no single write was chosen.
    pub(super) is_rough: bool,
}

impl Failure {
    /// Writes the disk.
    pub(super) fn disk(&self) -> TempDir {
        let disk = scratch();
        let top = support::top(disk.path());
        fs::create_dir_all(&top).unwrap();
        for (path, content) in &self.image {
            let path = top.join(path);
            match content {
                None => fs::create_dir(path).unwrap(),
                Some(content) => fs::write(path, content).unwrap(),
            }
        }
        disk
    }
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
    // Another operation has removed it: the caller syncs the directory above it instead.
    if !path.exists() {
        return;
    }
    // Just before; after it is before the next one.
    platter.fail(top, false);
    if platter.begin(Step::Sync, path) {
        platter.sync(path);
    }
}

/// Records that a staged file or directory is about to get a name. If this rename is left out, copies it there bit by
/// bit instead, and returns true.
pub(crate) fn published(from: &Path, to: &Path) -> bool {
    with_platter_of(to, |platter, top| {
        platter.published.push((from.to_path_buf(), to.to_path_buf()));
        let is_left_out = !platter.begin(Step::Rename, to);
        if is_left_out {
            platter.copy(top, from, to);
        }
        is_left_out
    })
}

/// Records that a directory is about to be discarded. If its rename is left out, removes it bit by bit instead, and
/// returns true.
pub(crate) fn discarded(directory: &Path) -> bool {
    with_platter_of(directory, |platter, top| {
        let is_left_out = directory.is_dir() && !platter.begin(Step::Discard, directory);
        if is_left_out {
            platter.remove(top, directory);
        }
        is_left_out
    })
}

fn with_platter_of(path: &Path, work: impl FnOnce(&mut Platter, &Path) -> bool) -> bool {
    let mut watched = watched();
    let platter = watched.iter_mut().find(|(top, _)| path.starts_with(top));
    platter.is_some_and(|(top, platter)| work(platter, top))
}

fn watched() -> MutexGuard<'static, BTreeMap<PathBuf, Platter>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inode_of(metadata: &Metadata) -> Inode {
    Inode {
        number: metadata.ino(),
        is_directory: metadata.is_dir(),
    }
}

/// Reads everything below a directory. What another operation removes meanwhile may be missing.
fn read_tree(inode: Inode, directory: &Path, tree: &mut Tree) {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let child = inode_of(&metadata);
        if child.is_directory {
            read_tree(child, &path, tree);
        } else if let Ok(content) = fs::read(&path) {
            tree.files.insert(child, content.into());
        }
        found.insert(entry.file_name(), child);
    }
    tree.directories.insert(inode, found);
}

impl Platter {
    /// Records that a step begins. Returns false if it is left out.
    fn begin(&mut self, step: Step, path: &Path) -> bool {
        let number = self.log.len();
        self.log.push((step, path.to_path_buf()));
        if self.examines {
            self.examined.push(number);
        }
        !self.omitted.contains(&number)
    }

    /// Keeps an inode from being reused. Returns it; `None` if another operation has removed the file.
    fn keep(&mut self, path: &Path) -> Option<Inode> {
        let file = File::open(path).ok()?;
        let inode = inode_of(&file.metadata().unwrap());
        self.open.entry(inode).or_insert(file);
        Some(inode)
    }

    fn sync(&mut self, path: &Path) {
        let Some(inode) = self.keep(path) else {
            return;
        };
        if inode.is_directory {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let found = entries.filter_map(|entry| Some((entry.file_name(), self.keep(&entry.path())?)));
            let found = found.collect();
            self.synced.directories.insert(inode, found);
        } else {
            let content = fs::read(path).unwrap_or_default().into();
            self.synced.files.insert(inode, content);
        }
    }

    fn sync_all(&mut self, path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.sync_all(&entry.path());
        }
        self.sync(path);
    }

    /// Records the disks that a loss of power may leave now.
    fn fail(&mut self, top: &Path, is_at_rest: bool) {
        if !self.fails_before && self.examined.is_empty() {
            return;
        }
        let mut present = Tree::default();
        // A file that has gone has lost its name only.
        present.files.clone_from(&self.synced.files);
        let root = inode_of(&fs::metadata(top).unwrap());
        read_tree(root, top, &mut present);
        for tree in [&mut present, &mut self.synced] {
            if let Some(entries) = tree.directories.get_mut(&root) {
                entries.retain(|name, _| !TRANSIENT.iter().any(|transient| name == transient));
            }
        }
        let writes = present.writes_since(&self.synced, root);
        for Choice { how, is_rough, kept } in self.losses.of(&writes) {
            let keeps = |write: &Write| kept.contains(write);
            let mut image = Image::new();
            present.image(&self.synced, root, &keeps, Path::new(""), &mut image);
            let mut hasher = DefaultHasher::new();
            (self.acknowledged, &image).hash(&mut hasher);
            if self.seen.insert(hasher.finish()) {
                self.failures.push(Failure {
                    image,
                    acknowledged: self.acknowledged,
                    is_whole: kept.len() == writes.len(),
                    is_at_rest,
                    is_rough,
                    how,
                });
            }
        }
    }

    /// Copies a staged file or directory, as if it were written where it belongs, and then synced.
    fn copy(&mut self, top: &Path, from: &Path, to: &Path) {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if from.is_dir() {
            fs::create_dir(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                self.fail(top, false);
                self.copy(top, &entry.path(), &to.join(entry.file_name()));
            }
            fs::remove_dir(from).unwrap();
        } else {
            File::create(to).unwrap();
            self.fail(top, false);
            fs::write(to, fs::read(from).unwrap()).unwrap();
            fs::remove_file(from).unwrap();
        }
        self.sync(to);
        self.fail(top, false);
    }

    fn remove(&mut self, top: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.remove(top, &path),
                false => fs::remove_file(path).unwrap(),
            }
            self.fail(top, false);
        }
        fs::remove_dir(directory).unwrap();
    }

    /// Returns the steps of the operation under test, with the names that staged files got afterwards.
    fn steps(&self, top: &Path) -> Vec<Taken> {
        let named = |path: &Path| {
            let mut published = self.published.iter();
            let named = published.find_map(|(from, to)| Some(to.join(path.strip_prefix(from).ok()?)));
            let path = named.unwrap_or_else(|| path.to_path_buf());
            path.strip_prefix(top).unwrap_or(&path).to_path_buf()
        };
        let steps = self.examined.iter().map(|number| {
            let (step, path) = &self.log[*number];
            Taken {
                number: *number,
                step: *step,
                path: named(path),
            }
        });
        steps.collect()
    }
}

/// A step that was taken.
pub(super) struct Taken {
    pub(super) number: usize,
    pub(super) step: Step,
    pub(super) path: PathBuf,
}

/// A directory whose disk is watched from when it is opened.
pub(super) struct Watched {
    pub(super) root: TempDir,
    pub(super) storage: FsStorage,
}

impl Watched {
    pub(super) fn open(root: TempDir) -> Self {
        Self::losing(root, Losses::default())
    }

    /// Opens a directory that loses so much at each point.
    pub(super) fn losing(root: TempDir, losses: Losses) -> Self {
        let platter = Platter {
            losses,
            fails_before: true,
            ..Platter::default()
        };
        Self::of(root, platter)
    }

    /// Opens a directory for a test of one operation. Some steps are left out. What is there may be durable.
    pub(super) fn without(root: TempDir, is_durable: bool, omitted: BTreeSet<usize>) -> Self {
        let mut platter = Platter {
            omitted,
            ..Platter::default()
        };
        if is_durable {
            platter.sync_all(&support::top(root.path()));
        }
        Self::of(root, platter)
    }

    fn of(root: TempDir, platter: Platter) -> Self {
        watched().insert(support::top(root.path()), platter);
        let storage = FsStorage::open(root.path()).unwrap();
        Self { root, storage }
    }

    /// Records that one more operation was acknowledged; returns its number.
    pub(super) fn acknowledged(&self) -> usize {
        self.platter(|platter, top| {
            platter.acknowledged += 1;
            platter.fail(top, true);
            platter.acknowledged
        })
    }

    /// Returns what a loss of power may leave, and the steps of the operation under test.
    pub(super) fn end(self) -> (Vec<Failure>, Vec<Taken>) {
        let top = support::top(self.root.path());
        let platter = watched().remove(&top).unwrap();
        let steps = platter.steps(&top);
        (platter.failures, steps)
    }

    /// Begins or ends the operation under test.
    pub(super) fn examine(&self, examines: bool) {
        self.platter(|platter, _| platter.examines = examines);
    }

    /// Performs `act` when this directory is about to be synced.
    pub(super) fn meanwhile(&self, directory: PathBuf, act: impl FnOnce() + Send + 'static) {
        self.platter(|platter, _| platter.meanwhile = Some((directory, Box::new(act))));
    }

    fn platter<T>(&self, work: impl FnOnce(&mut Platter, &Path) -> T) -> T {
        let top = support::top(self.root.path());
        work(watched().get_mut(&top).unwrap(), &top)
    }
}
