//! [`Files`]: files that are known to be durable, while others are removed.
//!
//! A file that is found here needs no sync. It must therefore be the very file that was synced: a file is forgotten
//! before it is removed, and no file is remembered during a removal.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of files remembered as durable. A forgotten one costs two syncs of clean data when it is built upon
/// again.
const MAX_FILES: usize = 65_536;

/// Files whose content and name are durable, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Files(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Hashes of their paths.
    known: HashSet<u64>,
    hasher: RandomState,
    /// Number of removed files. An operation that began before the last removal may have synced a name that is gone.
    removals: u64,
    /// Number of removals in progress. No file is remembered meanwhile.
    leaving: usize,
}

impl Memory {
    fn number(&self, path: &Path) -> u64 {
        // All paths of a file are equal, byte by byte. Hashing their components takes longer.
        self.hasher.hash_one(path.as_os_str())
    }
}

impl Files {
    /// Returns the number of removed files. An operation that begins now passes it to [`remember`](Self::remember).
    pub(crate) fn removals(&self) -> u64 {
        self.memory().removals
    }

    /// Returns true if the content and the name of a file are known to be durable.
    pub(crate) fn is_durable(&self, path: &Path) -> bool {
        let memory = self.memory();
        memory.known.contains(&memory.number(path))
    }

    /// Remembers files that were synced, with their names, by an operation that began after `began` removals.
    pub(crate) fn remember(&self, synced: &[PathBuf], began: u64) {
        let mut memory = self.memory();
        if memory.removals != began || memory.leaving != 0 {
            return;
        }
        if memory.known.len() + synced.len() > MAX_FILES {
            memory.known.clear();
        }
        let synced: Vec<u64> = synced.iter().map(|path| memory.number(path)).collect();
        memory.known.extend(synced);
    }

    /// Forgets a file before it is removed. Otherwise a file put in its place at once would be taken for durable.
    pub(crate) fn forget(&self, path: &Path) -> LeavingFile<'_> {
        let mut memory = self.memory();
        let number = memory.number(path);
        memory.known.remove(&number);
        memory.leaving += 1;
        LeavingFile {
            files: self,
            is_gone: false,
        }
    }

    /// Forgets a file that no running operation can be about to remember, so that all others may be remembered
    /// meanwhile. The caller holds the lock of its digest exclusively.
    pub(crate) fn forget_alone(&self, path: &Path) {
        let mut memory = self.memory();
        let number = memory.number(path);
        memory.known.remove(&number);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is being removed. No file is remembered as durable until this is dropped.
#[derive(Debug)]
pub(crate) struct LeavingFile<'a> {
    files: &'a Files,
    is_gone: bool,
}

impl LeavingFile<'_> {
    /// Records that the file has been removed.
    pub(crate) fn gone(mut self) {
        self.is_gone = true;
    }
}

impl Drop for LeavingFile<'_> {
    fn drop(&mut self) {
        let mut memory = self.files.memory();
        memory.leaving -= 1;
        memory.removals += u64::from(self.is_gone);
    }
}
