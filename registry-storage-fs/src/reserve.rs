//! [`Reserve`]: space and inodes that are given up for the records of deletions when the disk is full.
//!
//! A deletion is what makes space, and its record needs some before. The reserve is a directory of files of the same
//! size. Each file that is removed gives space for some records, and an inode. The files are created again once there is
//! space enough.

use crate::{
    condition::measure,
    error::{Context as _, FsError},
    moves::create_all,
};
use registry_core::storage::{Result, StorageError};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Number of files. A record of a deep repository needs an inode for each component of its name.
const FILES: u64 = 64;
/// Smallest part of a disk that is reserved, as a divisor: a disk that is smaller than 64 times the reserve has a
/// smaller one.
const SHARE: u64 = 64;
/// Granularity of the size of a file, in bytes.
const BLOCK: u64 = 4096;
/// Number of free inodes that creating the files must leave.
const FREE_FILES: u64 = 1024;

#[derive(Debug)]
pub(crate) struct Reserve {
    directory: PathBuf,
    /// Size in bytes; `None` leaves the files of an earlier process as they are.
    size: Option<u64>,
    /// Number of bytes that uploads leave free, and that the reserve leaves free, too.
    min_free: u64,
    /// True if files may be missing. Held while files are created or removed.
    lacks: Mutex<bool>,
}

impl Reserve {
    /// Describes a reserve, none of which need exist.
    pub(crate) const fn new(directory: PathBuf, size: Option<u64>, min_free: u64) -> Self {
        Self {
            directory,
            size,
            min_free,
            lacks: Mutex::new(true),
        }
    }

    /// Creates what is missing, if there is space for it. A failure is logged: everything works without a reserve.
    pub(crate) fn fill(&self) {
        let mut lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(size)) = (*lacks, self.size) {
            match self.create(size) {
                Ok(is_full) => *lacks = !is_full,
                Err(error) => tracing::debug!(
                    %error, cause = %error.source(),
                    "cannot reserve space for the records of deletions"
                ),
            }
        }
    }

    /// Writes something small that a deletion or a collection needs. If the disk is full, parts are given up for it.
    pub(crate) fn write<T>(&self, mut write: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match write() {
                Err(StorageError::Full { .. }) if self.give_up() => {}
                written => return written,
            }
        }
    }

    /// Gives up a part. Returns false if nothing is left.
    fn give_up(&self) -> bool {
        let mut lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let given = entries
            .into_iter()
            .any(|file| fs::remove_file(file.path()).is_ok());
        if given && !*lacks {
            tracing::warn!(
                reserve = %self.directory.display(),
                "the disk is full; the space that is reserved for records of deletions is given up. Collect garbage, or make room"
            );
        }
        *lacks = true;
        given
    }

    /// Creates missing files. Returns false if there is not enough space for all of them.
    fn create(&self, size: u64) -> Result<bool, FsError> {
        if size == 0 {
            // Of an earlier configuration.
            fs::remove_dir_all(&self.directory).if_there("remove", &self.directory)?;
            return Ok(true);
        }
        let top = self.directory.parent().unwrap_or(&self.directory);
        create_all(&self.directory)?;
        let space = measure(top).at("measure the free space of", top)?;
        let each = size.min(space.bytes_total / SHARE) / FILES / BLOCK * BLOCK;
        if each == 0 || space.files_free.is_some_and(|free| free < FREE_FILES) {
            return Ok(false);
        }
        let mut free = space
            .bytes_free
            .saturating_sub(self.min_free.saturating_add(size));
        for number in 0..FILES {
            let path = self.directory.join(number.to_string());
            let there = fs::metadata(&path).if_there("read the metadata of", &path)?;
            if there.is_some_and(|there| there.len() == each) {
                continue;
            }
            if free < each {
                return Ok(false);
            }
            free -= each;
            if let Err(error) = allocate(&path, each) {
                // The space is needed elsewhere.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        }
        Ok(true)
    }
}

/// Creates a file that takes this number of bytes on the disk.
fn allocate(path: &Path, bytes: u64) -> Result<(), FsError> {
    let mut file = File::create(path).at("create", path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems cannot allocate what is not written.
        Err(Errno::OPNOTSUPP) => io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)
            .and_then(|_| file.flush())
            .at("write", path),
        allocated => allocated.map_err(io::Error::from).at("allocate", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FsStorage, faults::fail};
    use std::os::unix::fs::MetadataExt as _;

    /// Returns the number of files, and of their bytes, which are all on the disk.
    fn taken(directory: &Path) -> (u64, u64) {
        let files = fs::read_dir(directory).into_iter().flatten();
        let sizes = files.map(|file| {
            let file = file.unwrap().metadata().unwrap();
            assert!(file.blocks() * 512 >= file.len(), "{file:?}");
            file.len()
        });
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    #[test]
    fn it_takes_its_space_gives_it_up_in_parts_and_takes_it_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("reserve");
        let reserve = Reserve::new(directory.clone(), Some(1 << 20), 0);

        reserve.fill();
        assert_eq!(taken(&directory), (FILES, 1 << 20));
        for left in (0..FILES).rev() {
            assert!(reserve.give_up());
            assert_eq!(taken(&directory).0, left);
        }
        assert!(!reserve.give_up());

        reserve.fill();
        assert_eq!(taken(&directory), (FILES, 1 << 20));
        // A crash has left a part of a file.
        fs::write(directory.join("7"), "x").unwrap();
        let reserve = Reserve::new(directory.clone(), Some(1 << 20), 0);
        reserve.fill();
        assert_eq!(taken(&directory), (FILES, 1 << 20));

        // Another process gives up what it finds.
        let other = Reserve::new(directory.clone(), None, 0);
        other.fill();
        assert!(other.give_up());
        assert_eq!(taken(&directory).0, FILES - 1);
        // It is no longer wanted.
        Reserve::new(directory.clone(), Some(0), 0).fill();
        assert!(!directory.exists());
    }

    #[test]
    fn it_takes_nothing_of_what_must_stay_free() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("reserve");
        let reserve = Reserve::new(directory.clone(), Some(1 << 20), u64::MAX);

        reserve.fill();

        assert_eq!(taken(&directory), (0, 0));
        assert!(!reserve.give_up());
    }

    #[test]
    fn a_write_is_tried_again_for_each_part_and_other_failures_are_not() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::options()
            .reserve_for_records(1 << 20)
            .open(root.path())
            .unwrap();
        let store = storage.store();
        let path = root.path().join("path");
        let mut tries = 0;
        let mut write = |errno: Option<Errno>, until: u64| {
            tries = 0;
            store.reserve.write(|| {
                tries += 1;
                let _fault = errno.filter(|_| tries <= until).map(|errno| fail(&path, errno));
                Ok(Ok(()).at("write", &path)?)
            })
        };

        assert!(write(None, 0).is_ok());
        assert!(write(Some(Errno::NOSPC), 3).is_ok());
        let directory = store.layout.reserve();
        assert_eq!(taken(&directory).0, FILES - 3);
        assert!(write(Some(Errno::IO), 1).is_err());
        assert_eq!(taken(&directory).0, FILES - 3);
        let full = write(Some(Errno::NOSPC), u64::MAX);
        assert!(matches!(full, Err(StorageError::Full { .. })), "{full:?}");
        assert_eq!(taken(&directory).0, 0);
    }
}
