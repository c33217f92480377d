//! [`Directories`]: which directories are known to last, while others are removed.
//!
//! Whoever finds a directory here skips the sync of its parent. So it has to be the very directory that was synced: one
//! that was removed and made again has lost its name until its parent is synced once more. A directory is therefore
//! forgotten before it is removed, nobody can remember it until it is gone, and from then on nobody who began before.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound::{Included, Unbounded},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many directories are remembered. Forgetting one costs a sync of a directory that is clean.
const REMEMBERED: usize = 16_384;
/// How many removals are told apart. Who began before the oldest of them remembers nothing.
const REMOVALS: usize = 1024;

/// The directories whose own names last, all the way up, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Directories(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// In order of their components: what lies below a directory follows it.
    known: BTreeSet<PathBuf>,
    /// Those that are being removed now.
    leaving: Vec<PathBuf>,
    /// How many have been removed.
    removals: u64,
    /// The last ones, each with the number of its last removal.
    removed: HashMap<PathBuf, u64>,
    /// Removals up to this one are no longer told apart.
    forgotten: u64,
}

impl Directories {
    /// How many directories have been removed: what somebody who begins now passes to [`remember`](Self::remember).
    pub(crate) fn removals(&self) -> u64 {
        self.memory().removals
    }

    /// Whether a directory is known to last.
    pub(crate) fn last(&self, directory: &Path) -> bool {
        self.memory().known.contains(directory)
    }

    /// Remembers directories that were synced, and those above them, by somebody who began after `began` removals.
    pub(crate) fn remember<'a>(&self, synced: impl ExactSizeIterator<Item = &'a Path>, began: u64) {
        let mut memory = self.memory();
        if memory.known.len() + synced.len() > REMEMBERED {
            memory.known.clear();
        }
        for directory in synced {
            if !memory.may_be_another(directory, began) {
                memory.known.insert(directory.to_path_buf());
            }
        }
    }

    /// Forgets a directory that is about to be removed, with all below it.
    pub(crate) fn forget(&self, directory: &Path) -> Leaving<'_> {
        let mut memory = self.memory();
        let below: Vec<PathBuf> = memory
            .known
            .range::<Path, _>((Included(directory), Unbounded))
            .take_while(|known| known.starts_with(directory))
            .cloned()
            .collect();
        for known in below {
            memory.known.remove(&known);
        }
        memory.leaving.push(directory.to_path_buf());
        Leaving {
            directories: self,
            directory: directory.to_path_buf(),
            is_gone: false,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whether a directory may have been removed, or be about to be, since so many had been.
    fn may_be_another(&self, directory: &Path, began: u64) -> bool {
        if self.removals == began && self.leaving.is_empty() {
            return false;
        }
        began < self.forgotten
            || directory.ancestors().any(|above| {
                let removed = self.removed.get(above);
                removed.is_some_and(|number| *number > began)
                    || self.leaving.iter().any(|leaving| leaving == above)
            })
    }
}

/// A directory that somebody removes. Until this is dropped nobody can remember it.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    directories: &'a Directories,
    directory: PathBuf,
    is_gone: bool,
}

impl Leaving<'_> {
    /// It has been removed.
    pub(crate) fn gone(mut self) {
        self.is_gone = true;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut memory = self.directories.memory();
        if let Some(at) = memory
            .leaving
            .iter()
            .position(|leaving| *leaving == self.directory)
        {
            memory.leaving.swap_remove(at);
        }
        if self.is_gone {
            memory.removals += 1;
            if memory.removed.len() >= REMOVALS {
                memory.removed.clear();
                memory.forgotten = memory.removals;
            }
            let number = memory.removals;
            memory.removed.insert(std::mem::take(&mut self.directory), number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(directories: &Directories, paths: &[&str], began: u64) {
        directories.remember(paths.iter().map(|path| Path::new(*path)), began);
    }

    fn last(directories: &Directories, path: &str) -> bool {
        directories.last(Path::new(path))
    }

    #[test]
    fn a_directory_is_forgotten_with_all_below_it_and_nothing_else() {
        let directories = Directories::default();
        remember(&directories, &["/a", "/a/b", "/a/b/c", "/a/b-c", "/a.b"], 0);

        drop(directories.forget(Path::new("/a/b")));

        assert!(
            ["/a", "/a/b-c", "/a.b"]
                .iter()
                .all(|kept| last(&directories, kept))
        );
        assert!(["/a/b", "/a/b/c"].iter().all(|gone| !last(&directories, gone)));
    }

    #[test]
    fn nobody_remembers_what_is_being_removed_or_was_since_they_began() {
        let directories = Directories::default();
        let began = directories.removals();

        let leaving = directories.forget(Path::new("/a/b"));
        remember(&directories, &["/a", "/a/b", "/a/b/c"], began);
        assert!(last(&directories, "/a"));
        assert!(!last(&directories, "/a/b") && !last(&directories, "/a/b/c"));

        leaving.gone();
        remember(&directories, &["/a/b", "/a/b/c", "/a/c"], began);
        assert!(!last(&directories, "/a/b") && !last(&directories, "/a/b/c"));
        assert!(last(&directories, "/a/c"));

        remember(&directories, &["/a/b"], directories.removals());
        assert!(last(&directories, "/a/b"));
    }

    #[test]
    fn a_removal_that_fails_stands_in_nobodys_way() {
        let directories = Directories::default();
        let began = directories.removals();

        drop(directories.forget(Path::new("/a")));

        remember(&directories, &["/a"], began);
        assert!(last(&directories, "/a"));
    }

    #[test]
    fn who_began_before_more_removals_than_are_told_apart_remembers_nothing() {
        let directories = Directories::default();
        let began = directories.removals();
        for number in 0..=REMOVALS {
            directories.forget(Path::new(&format!("/gone/{number}"))).gone();
        }

        remember(&directories, &["/a"], began);
        assert!(!last(&directories, "/a"));
        assert!(directories.memory().removed.len() <= REMOVALS);

        remember(&directories, &["/a"], directories.removals());
        assert!(last(&directories, "/a"));
    }
}
