//! [`Removals`]: directories in which a collection removed entries, until they are synced.
//!
//! Each directory is synced once per kind of content, and not once per item. A removal is durable before the next kind
//! is removed: otherwise, after a power loss, a manifest could be there again without the blobs that it names.

use super::nearby::Item;
use crate::{
    disk::Disk,
    error::FsError,
    pauses::{Pauses, Point},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A kind of content, in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Manifests,
    Links,
    Data,
    Repositories,
}

/// Directories with removed entries of one level.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    level: Option<Level>,
    directories: BTreeSet<PathBuf>,
    /// The last one of them. Most removals are in the same directory as the one before.
    last: PathBuf,
}

impl Removals {
    /// Begins removals of a level. Those of another one become durable before.
    pub(crate) fn begin(&mut self, level: Level, disk: &Disk) -> Result<(), FsError> {
        if self.level != Some(level) {
            self.settle(disk)?;
            self.level = Some(level);
        }
        Ok(())
    }

    /// Makes all removals durable. After a failure, they are still to be made durable.
    pub(crate) fn settle(&mut self, disk: &Disk) -> Result<(), FsError> {
        self.last = PathBuf::new();
        if !disk.syncs() {
            self.directories.clear();
        }
        while let Some(directory) = self.directories.last() {
            // If it has gone, its parent has changed instead.
            let parent = match disk.sync_if_there(directory)? {
                true => None,
                false => directory.parent().map(Path::to_path_buf),
            };
            self.directories.pop_last();
            self.directories.extend(parent);
        }
        self.level = None;
        Ok(())
    }

    /// Removes a file and its directory, if that has no other entries. Nothing else uses them: the caller holds the lock
    /// of their digest exclusively.
    pub(super) fn remove(&mut self, item: &Item, disk: &Disk, pauses: &Pauses) -> Result<(), FsError> {
        let removed = disk.remove_alone(item);
        pauses.reach(Point::ReclaimFileRemoved);
        match disk.remove_directory_alone(item) {
            Ok(true) => self.changed(item.directory()),
            _ => self.changed(item.path()),
        }
        removed.map(drop)
    }

    /// Removes a file, and leaves its directory to others. The caller holds the lock of its digest exclusively.
    pub(super) fn remove_file(&mut self, item: &Item, disk: &Disk) -> Result<(), FsError> {
        let removed = disk.remove_alone(item);
        if !matches!(removed, Ok(false)) {
            self.changed(item.path());
        }
        removed.map(drop)
    }

    /// Records that an entry was removed.
    pub(crate) fn changed(&mut self, entry: &Path) {
        let Some(directory) = entry.parent() else {
            return;
        };
        // Byte by byte, which is faster than by components.
        if self.last.as_os_str() != directory.as_os_str() {
            self.last = directory.to_path_buf();
            self.directories.insert(directory.to_path_buf());
        }
    }
}

impl Disk {
    /// Removes a file whose digest's lock the caller holds exclusively. Returns false if there is none.
    ///
    /// No operation can be about to remember it as durable, so that no operation has to be kept from remembering
    /// others.
    fn remove_alone(&self, item: &Item) -> Result<bool, FsError> {
        self.files.forget_alone(item.path());
        item.remove()
    }

    /// Does the same with its directory. Returns false if it has entries, or was not there.
    pub(super) fn remove_directory_alone(&self, item: &Item) -> Result<bool, FsError> {
        self.directories.forget_alone(item.directory());
        item.remove_directory()
    }
}
