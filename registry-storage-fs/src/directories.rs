//! [`Directories`]: directories that are known to be durable, while others are removed.
//!
//! A directory that is found here needs no sync of its parent. It must therefore be the very directory that was
//! synced: one that was removed and created again is not durable until its parent is synced again. A directory is
//! forgotten before it is removed, and cannot be remembered during its removal. After that, no operation that began
//! earlier can remember it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound::{Included, Unbounded},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of remembered directories. A forgotten one costs a sync of a clean directory.
const REMEMBERED: usize = 16_384;
/// Number of removals that are distinguished. An operation that began before the oldest of them remembers nothing.
const REMOVALS: usize = 1024;

/// Directories whose own names are durable, up to the root, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Directories(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Durable directories in order of their components: the entries below a directory follow it.
    known: BTreeSet<PathBuf>,
    /// Directories that are being removed now.
    leaving: Vec<PathBuf>,
    /// Number of removed directories.
    removals: u64,
    /// The latest removed directories, each with the number of its last removal.
    removed: HashMap<PathBuf, u64>,
    /// Number of the last removal that is no longer distinguished.
    forgotten: u64,
}

impl Directories {
    /// Returns the number of removed directories. An operation that begins now passes it to
    /// [`remember`](Self::remember).
    pub(crate) fn removals(&self) -> u64 {
        self.memory().removals
    }

    /// Returns true if a directory is known to be durable.
    pub(crate) fn is_durable(&self, directory: &Path) -> bool {
        self.memory().known.contains(directory)
    }

    /// Remembers directories that were synced, with those above them, by an operation that began after `began`
    /// removals.
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

    /// Forgets a directory that is about to be removed, and everything below it.
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

    /// Forgets an empty directory that no running operation can be about to remember. The caller holds the lock of its
    /// digest exclusively.
    pub(crate) fn forget_alone(&self, directory: &Path) {
        self.memory().known.remove(directory);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Returns true if a directory may have been removed after the first `began` removals, or is being removed.
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

/// A directory that is being removed. It cannot be remembered until this is dropped.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    directories: &'a Directories,
    directory: PathBuf,
    is_gone: bool,
}

impl Leaving<'_> {
    /// Records that the directory has been removed.
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

    fn is_durable(directories: &Directories, path: &str) -> bool {
        directories.is_durable(Path::new(path))
    }

    #[test]
    fn a_directory_is_forgotten_with_all_below_it_and_nothing_else() {
        let directories = Directories::default();
        remember(&directories, &["/a", "/a/b", "/a/b/c", "/a/b-c", "/a.b"], 0);

        drop(directories.forget(Path::new("/a/b")));

        assert!(
            ["/a", "/a/b-c", "/a.b"]
                .iter()
                .all(|kept| is_durable(&directories, kept))
        );
        assert!(
            ["/a/b", "/a/b/c"]
                .iter()
                .all(|gone| !is_durable(&directories, gone))
        );
    }

    #[test]
    fn nobody_remembers_what_is_being_removed_or_was_since_they_began() {
        let directories = Directories::default();
        let began = directories.removals();

        let leaving = directories.forget(Path::new("/a/b"));
        remember(&directories, &["/a", "/a/b", "/a/b/c"], began);
        assert!(is_durable(&directories, "/a"));
        assert!(!is_durable(&directories, "/a/b") && !is_durable(&directories, "/a/b/c"));

        leaving.gone();
        remember(&directories, &["/a/b", "/a/b/c", "/a/c"], began);
        assert!(!is_durable(&directories, "/a/b") && !is_durable(&directories, "/a/b/c"));
        assert!(is_durable(&directories, "/a/c"));

        remember(&directories, &["/a/b"], directories.removals());
        assert!(is_durable(&directories, "/a/b"));
    }

    #[test]
    fn a_removal_that_fails_stands_in_nobodys_way() {
        let directories = Directories::default();
        let began = directories.removals();

        drop(directories.forget(Path::new("/a")));

        remember(&directories, &["/a"], began);
        assert!(is_durable(&directories, "/a"));
    }

    #[test]
    fn who_began_before_more_removals_than_are_told_apart_remembers_nothing() {
        let directories = Directories::default();
        let began = directories.removals();
        for number in 0..=REMOVALS {
            directories.forget(Path::new(&format!("/gone/{number}"))).gone();
        }

        remember(&directories, &["/a"], began);
        assert!(!is_durable(&directories, "/a"));
        assert!(directories.memory().removed.len() <= REMOVALS);

        remember(&directories, &["/a"], directories.removals());
        assert!(is_durable(&directories, "/a"));
    }
}
