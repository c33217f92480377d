//! Damaged content is moved to quarantine. It is then absent for everybody, and clients push it again.
//!
//! It moves to `_quarantine/<algorithm>/<hex>/<n>/bytes`. A text file beside it, `why`, names the original path and
//! the fault. Content is damaged if it was read completely and has another digest, or if it is not a file. An I/O
//! error says nothing about the content. Nothing in quarantine is read again; operators inspect and remove it.

use crate::{
    FsStorage,
    blobs::hash_file,
    error::{Context, FsError},
    layout::QuarantinePaths,
    pauses::Point,
    seams,
    store::Store,
    stored_file, time,
};
use registry_core::{
    Algorithm, Digest,
    hash::Hasher,
    storage::{Result, StorageError},
};
use std::{
    fmt,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::SystemTime,
};

/// Maximum number of times that content is hashed while pushes keep replacing it.
const TRIES: usize = 8;

/// The fault of damaged content.
#[derive(Debug)]
pub(crate) enum Damage {
    NoFile,
    Digest { size: u64, actual: Option<Digest> },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("not a regular file"),
            Self::Digest {
                size,
                actual: Some(actual),
            } => write!(f, "{size} bytes with the digest {actual}"),
            Self::Digest { size, actual: None } => write!(f, "{size} bytes with another digest"),
        }
    }
}

impl FsStorage {
    /// Counts the items in quarantine: content that was found damaged and moved to `_quarantine`. Blocks while it
    /// lists that directory.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let root = directory.path();
    /// let storage = registry_storage_fs::FsStorage::open(root)?;
    /// assert_eq!(storage.quarantined()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn quarantined(&self) -> io::Result<usize> {
        let layout = &self.store().layout;
        let mut count = 0;
        for algorithm in Algorithm::ALL {
            for digest in entries(&layout.quarantines(algorithm))? {
                for item in entries(&digest?.path())? {
                    let directory = item?.path();
                    count += usize::from(QuarantinePaths { directory }.holds_bytes()?);
                }
            }
        }
        Ok(count)
    }
}

impl QuarantinePaths {
    /// Returns true if the item has bytes. A process may have ended before they were moved there.
    fn holds_bytes(&self) -> io::Result<bool> {
        match fs::symlink_metadata(self.bytes()) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            there => there.map(|_| true),
        }
    }
}

/// Lists a directory. It is empty if there is none, or if something else is in its place.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None.into_iter().flatten())
        }
        Err(error) => Err(error),
    }
}

impl Store {
    /// Returns true if the bytes stored under a digest match it. Reads and hashes all of them, and quarantines
    /// damaged ones.
    pub(crate) fn is_sound(&self, target: &Digest) -> Result<bool> {
        let path = self.layout.blob(target);
        for _ in 0..TRIES {
            seams::opened(&path);
            let Some(file) = stored_file::open(&path).if_there("open", &path)? else {
                return Ok(false);
            };
            let mut metadata = file.metadata().at("read the metadata of", &path)?;
            if !metadata.is_file() {
                // `stored_file::open` opens the null device in place of a socket.
                let Some(there) = fs::metadata(&path).if_there("read the metadata of", &path)? else {
                    return Ok(false);
                };
                if there.is_file() {
                    continue;
                }
                metadata = there;
            }
            let Some(damage) = damage(&file, &metadata, target).at("read", &path)? else {
                return Ok(true);
            };
            // The file stays open, so that its inode is not reused.
            if self.set_aside_if_same(target, &path, &metadata, &damage)? {
                return Ok(false);
            }
        }
        Err(StorageError::internal(format!(
            "{target} was replaced {TRIES} times while it was hashed"
        )))
    }

    /// Publishes `target`, a file about a digest, by `place`. A directory in its place is damage, and is quarantined.
    pub(crate) fn place<T>(
        &self,
        digest: &Digest,
        target: &Path,
        mut place: impl FnMut() -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        match place() {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                let _lock = self.blobs.lock(*digest);
                self.set_directory_aside(digest, target)?;
                place()
            }
            placed => placed,
        }
    }

    /// Does the same for the bytes of a digest, under a lock against a concurrent quarantine.
    pub(crate) fn place_blob<T>(
        &self,
        digest: &Digest,
        mut place: impl FnMut(&Path) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let target = self.layout.blob(digest);
        let _lock = self.blobs.lock(*digest);
        let placed = match place(&target) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                self.set_directory_aside(digest, &target)?;
                place(&target)
            }
            placed => placed,
        };
        self.reported.forget(&target);
        placed
    }

    /// Quarantines a directory. The caller holds the digest's lock. Without it, a file could be there meanwhile.
    fn set_directory_aside(&self, digest: &Digest, path: &Path) -> Result<(), FsError> {
        let there = fs::symlink_metadata(path).if_there("read the metadata of", path)?;
        if there.is_some_and(|there| there.is_dir()) {
            self.set_aside(digest, path, &Damage::NoFile)?;
        }
        Ok(())
    }

    /// Quarantines damaged content; returns false if a push has replaced it since it was read.
    fn set_aside_if_same(
        &self,
        target: &Digest,
        path: &Path,
        found: &Metadata,
        damage: &Damage,
    ) -> Result<bool, FsError> {
        let _lock = self.blobs.lock(*target);
        let Some(now) = fs::metadata(path).if_there("read the metadata of", path)? else {
            // Another operation has quarantined it.
            return Ok(true);
        };
        if (now.dev(), now.ino()) != (found.dev(), found.ino()) {
            return Ok(false);
        }
        self.set_aside(target, path, damage)?;
        Ok(true)
    }

    /// Quarantines what is at a path. The caller holds the digest's lock.
    pub(crate) fn set_aside(
        &self,
        digest: &Digest,
        path: &Path,
        damage: &dyn fmt::Display,
    ) -> Result<(), FsError> {
        let place = self.layout.quarantine(digest, self.free_number(digest)?);
        let where_from = path.strip_prefix(self.layout.top()).unwrap_or(path);
        let why = format!(
            "path: {}\nfound: {}\ndamage: {damage}\n",
            where_from.display(),
            time::format(SystemTime::now()),
        );
        let moved = self.move_to(&place, path, &why);
        if moved.is_err() && fs::symlink_metadata(place.bytes()).is_err() {
            // Best effort. Otherwise each push on a full disk would leave an item that counts.
            let _ = fs::remove_file(place.why());
            let _ = fs::remove_dir(&place.directory);
        }
        moved?;
        // By whichever name closures know it.
        self.known_closures.removed_any();
        tracing::error!(
            %digest,
            path = %path.display(),
            %damage,
            quarantine = %place.directory.display(),
            "stored content is damaged and was moved to quarantine; it counts as absent until it is pushed again"
        );
        Ok(())
    }

    fn move_to(&self, place: &QuarantinePaths, path: &Path, why: &str) -> Result<(), FsError> {
        let mut changes = self.disk.changes();
        self.pauses.reach(Point::QuarantineReserved);
        changes.put(&place.why(), why.as_bytes())?;
        // The new place lasts before anything moves there. Otherwise a power loss could take the bytes with it.
        changes.settle()?;
        self.pauses.reach(Point::QuarantineExplained);
        let mut changes = self.disk.changes();
        changes.set_aside(path, &place.bytes())?;
        self.pauses.reach(Point::QuarantineMoved);
        changes.settle()
    }

    /// Returns a free number, whose directory is created. A directory without bytes is free: its process has ended, since
    /// the caller holds the digest's lock.
    fn free_number(&self, digest: &Digest) -> Result<u64, FsError> {
        let mut number = 1;
        loop {
            let place = self.layout.quarantine(digest, number);
            let directory = &place.directory;
            if let Some(above) = directory.parent() {
                fs::create_dir_all(above).at("create", above)?;
            }
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if directory.is_dir() && !place.holds_bytes().at("read the metadata of", directory)? {
                        return Ok(number);
                    }
                    number += 1;
                }
                made => return made.at("create", directory).map(|()| number),
            }
        }
    }
}

/// Reads an open file and returns its fault, if its digest is not the expected one.
fn damage(file: &File, metadata: &Metadata, expected: &Digest) -> io::Result<Option<Damage>> {
    if !metadata.is_file() {
        return Ok(Some(Damage::NoFile));
    }
    let mut hasher = Hasher::new(expected.algorithm());
    hash_file(file, u64::MAX, &mut hasher)?;
    let size = hasher.offset();
    let actual = hasher.digest();
    Ok((actual != Some(*expected)).then_some(Damage::Digest { size, actual }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, support::name};

    /// A storage with damaged bytes under a digest, and that digest.
    fn damaged() -> (tempfile::TempDir, FsStorage, Digest) {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::options()
            .durability(Durability::Full)
            .open(root.path())
            .unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"sound");
        let mut changes = storage.store().disk.changes();
        changes
            .put(&storage.store().layout.blob(&digest), b"damaged")
            .unwrap();
        changes.settle().unwrap();
        (root, storage, digest)
    }

    #[test]
    fn what_replaced_the_damaged_bytes_since_they_were_hashed_stays() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let path = store.layout.blob(&digest);
        let file = File::open(&path).unwrap();
        let metadata = file.metadata().unwrap();
        let damage = damage(&file, &metadata, &digest).unwrap().unwrap();
        let mut changes = store.disk.changes();
        changes.put(&path, b"sound").unwrap();

        let done = store
            .set_aside_if_same(&digest, &path, &metadata, &damage)
            .unwrap();

        assert!(!done);
        assert_eq!(fs::read(&path).unwrap(), b"sound");
        assert!(store.is_sound(&digest).unwrap());
        assert_eq!(storage.quarantined().unwrap(), 0);
    }

    #[test]
    fn damaged_bytes_that_another_has_set_aside_are_done_with() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let path = store.layout.blob(&digest);
        let file = File::open(&path).unwrap();
        let metadata = file.metadata().unwrap();
        let damage = damage(&file, &metadata, &digest).unwrap().unwrap();
        assert!(!store.is_sound(&digest).unwrap());

        let done = store
            .set_aside_if_same(&digest, &path, &metadata, &damage)
            .unwrap();

        assert!(done);
        assert_eq!(storage.quarantined().unwrap(), 1);
    }

    #[test]
    fn a_place_that_a_process_has_left_without_bytes_does_not_count_and_is_used() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let place = store.layout.quarantine(&digest, 1);
        fs::create_dir_all(&place.directory).unwrap();
        fs::write(place.why(), "damage: of which the process died").unwrap();
        assert_eq!(storage.quarantined().unwrap(), 0);

        assert!(!store.is_sound(&digest).unwrap());

        assert_eq!(storage.quarantined().unwrap(), 1);
        assert_eq!(fs::read(place.bytes()).unwrap(), b"damaged");
        let why = fs::read_to_string(place.why()).unwrap();
        assert!(why.contains("7 bytes with the digest"), "{why}");
    }

    #[test]
    fn a_file_that_has_replaced_a_directory_since_stays() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let path = store.layout.layer(&name("a"), &digest);
        fs::create_dir_all(&path).unwrap();
        let mut changes = store.disk.changes();

        store
            .place(&digest, &path, || {
                let placed = changes.ensure(&path, b"link");
                if placed.is_err() {
                    // Another push has quarantined the directory.
                    fs::remove_dir(&path).unwrap();
                    fs::write(&path, b"link").unwrap();
                }
                placed
            })
            .unwrap();

        changes.settle().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"link");
        assert_eq!(storage.quarantined().unwrap(), 0);
    }

    #[test]
    fn what_was_set_aside_is_not_taken_to_last() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let path = store.layout.blob(&digest);
        assert!(store.disk.is_durable(&path));

        assert!(!store.is_sound(&digest).unwrap());

        assert!(!store.disk.is_durable(&path));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_set_aside_while_it_is_made_to_last_is_not_taken_to_last() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        let path = store.layout.blob(&digest);
        let mut changes = store.disk.changes();
        changes.put(&path, b"damaged again").unwrap();

        assert!(!store.is_sound(&digest).unwrap());
        changes.settle().unwrap();

        assert!(!store.disk.is_durable(&path));
    }

    #[test]
    fn what_cannot_be_set_aside_leaves_nothing_that_counts() {
        use rustix::io::Errno;
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        for number in 1..4 {
            let why = store.layout.quarantine(&digest, 1).why();
            let _full = crate::faults::fail(&why, Errno::NOSPC);
            assert!(store.is_sound(&digest).is_err(), "{number}");
            assert_eq!(storage.quarantined().unwrap(), 0);
        }
        assert!(store.layout.blob(&digest).exists());

        assert!(!store.is_sound(&digest).unwrap());
        assert_eq!(storage.quarantined().unwrap(), 1);
    }

    #[test]
    fn what_an_operator_left_beside_the_damage_does_not_count_and_is_in_nobodys_way() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        assert!(!store.is_sound(&digest).unwrap());

        fs::write(store.layout.quarantines(Algorithm::Sha256).join("notes"), "").unwrap();

        assert_eq!(storage.quarantined().unwrap(), 1);
    }

    #[test]
    fn of_many_that_find_the_same_damage_one_sets_it_aside() {
        let (_root, storage, digest) = damaged();
        let store = storage.store();
        std::thread::scope(|scope| {
            let looking: Vec<_> = (0..8).map(|_| scope.spawn(|| store.is_sound(&digest))).collect();
            for looked in looking {
                assert!(!looked.join().unwrap().unwrap());
            }
        });
        assert_eq!(storage.quarantined().unwrap(), 1);
    }

    #[test]
    fn pushes_that_race_with_a_look_at_the_damage_are_never_lost() {
        for _ in 0..50 {
            let (_root, storage, digest) = damaged();
            let store = storage.store();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| store.is_sound(&digest).unwrap());
                    scope.spawn(|| {
                        let mut changes = store.disk.changes();
                        store
                            .place_blob(&digest, |target| changes.ensure(target, b"sound"))
                            .unwrap();
                        changes.settle().unwrap();
                    });
                }
            });
            assert_eq!(fs::read(store.layout.blob(&digest)).unwrap(), b"sound");
        }
    }
}
