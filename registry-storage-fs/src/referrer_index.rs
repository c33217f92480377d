//! The index of referrers on disk, below `_index`: the manifests that may name another one as their subject.
//!
//! ```text
//! _index/_owner                          name of this opening; locked while its process keeps the index
//! _index/<name>/_referrers/complete      the opening in which every manifest was read, and none missed since
//! _index/<name>/_referrers/<algorithm>/<subject>/<algorithm>-<first two digits>/<hex>-<type>    empty
//! ```
//!
//! It is derived from the manifests, and a list of candidates: each is read before it is listed. An entry exists
//! before its manifest becomes visible, and is removed after it. A listing is therefore always right, and a crash
//! leaves too many entries, never too few.
//!
//! Nothing in it is synced. It counts only in the opening that completed it, since other programs may have written
//! before, and a power loss may have cost entries. Read-only processes rely on it while its owner runs. They check
//! that by the lock, because a process id means nothing in another container.

use crate::{
    disk::Disk,
    error::{Context, FsError},
    file_lock::FileLock,
    layout::Layout,
    names::{names_after, parsed},
    referrer_entry::{Entry, subject_directory},
    stored_file,
};
use registry_core::{Algorithm, Digest, RepositoryName};
use rustix::io::Errno;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Write as _},
    path::Path,
    thread,
    time::Duration,
};

/// Maximum number of attempts to create a directory that another operation removes because it is empty.
const TRIES: usize = 64;
/// Pause between attempts to lock the file while readers probe the lock, each for a moment.
const PROBES_END: Duration = Duration::from_millis(5);
const PROBES: usize = 200;

/// Proof that this process maintains the index, held while it owns the directory.
#[derive(Debug)]
pub(crate) struct IndexOwner {
    /// The locked file. Without one, readers do not see that the index is maintained.
    _file: Option<FileLock>,
    opening: String,
}

impl IndexOwner {
    /// Locks the index. The caller has locked the directory.
    pub(crate) fn take(layout: &Layout) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let opening = format!("{:032x}", u128::from_ne_bytes(random));
        let file = Self::announce(layout, &opening).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot maintain the referrer index for read-only servers; they read every manifest instead");
            None
        });
        Ok(Self { _file: file, opening })
    }

    fn announce(layout: &Layout, opening: &str) -> Result<Option<FileLock>, FsError> {
        let path = layout.index_owner();
        fs::create_dir_all(layout.index()).at("create", &layout.index())?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("create", &path)?;
        // The id of an earlier process must not be read once the file is locked again.
        file.set_len(0).at("write", &path)?;
        for _ in 0..PROBES {
            file = match FileLock::exclusive(file) {
                Ok(locked) => {
                    (&*locked).write_all(opening.as_bytes()).at("write", &path)?;
                    return Ok(Some(locked));
                }
                Err((file, Errno::WOULDBLOCK)) => file,
                Err((_, error)) => return Err(io::Error::from(error)).at("lock", &path),
            };
            thread::sleep(PROBES_END);
        }
        tracing::warn!(path = %path.display(), "another process holds the lock on this file; read-only servers read every manifest instead of the referrer index");
        Ok(None)
    }
}

/// Returns the name of the opening whose process maintains the index now.
fn running(layout: &Layout) -> Result<Option<String>, FsError> {
    let path = layout.index_owner();
    let Some(file) = open_in_index(&path)? else {
        return Ok(None);
    };
    match FileLock::shared(file) {
        // There is no such process.
        Ok(_) => Ok(None),
        Err((file, Errno::WOULDBLOCK)) => read_short(&file).at("read", &path).map(Some),
        Err((_, error)) => Err(io::Error::from(error)).at("lock", &path),
    }
}

/// Opens a file of the index; `None` if it is absent or its parent is not a directory.
fn open_in_index(path: &Path) -> Result<Option<File>, FsError> {
    match stored_file::open(path) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None),
        opened => opened.if_there("open", path),
    }
}

/// Reads the text of a small file; empty if it is not text.
fn read_short(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// The indexes of a storage.
pub(crate) struct ReferrerIndex<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) disk: &'a Disk,
    /// `None` if this process does not maintain the indexes.
    pub(crate) owner: Option<&'a IndexOwner>,
}

impl ReferrerIndex<'_> {
    /// Returns true if the index of a repository names every referrer, now and as long as the owner runs.
    pub(crate) fn is_complete(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        let opening = match self.owner {
            Some(owner) => Some(owner.opening.clone()),
            None => running(self.layout)?,
        };
        let Some(opening) = opening.filter(|opening| !opening.is_empty()) else {
            return Ok(false);
        };
        let path = self.layout.referrers_complete(repository);
        let Some(file) = open_in_index(&path)? else {
            return Ok(false);
        };
        Ok(read_short(&file).at("read", &path)? == opening)
    }

    /// Makes the index of a repository count until this process ends.
    pub(crate) fn complete(&self, repository: &RepositoryName) -> Result<(), FsError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        self.disk.require_owned()?;
        self.make_directory(&self.layout.referrers(repository))?;
        self.disk.replace(
            &self.layout.referrers_complete(repository),
            owner.opening.as_bytes(),
        )
    }

    /// Adds an entry before its manifest becomes visible.
    pub(crate) fn add(&self, repository: &RepositoryName, entry: &Entry) -> Result<(), FsError> {
        self.disk.require_owned()?;
        let path = entry.path(self.layout, repository);
        let create = || File::options().create(true).append(true).open(&path).map(drop);
        for _ in 1..TRIES {
            match create() {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    self.make_directory(path.parent().unwrap_or(&path))?;
                }
                created => return created.at("create", &path),
            }
        }
        create().at("create", &path)
    }

    /// Creates a directory of the index. Tries again if others remove it while it is empty, and replaces anything that
    /// is not a directory.
    fn make_directory(&self, directory: &Path) -> Result<(), FsError> {
        for _ in 1..TRIES {
            match fs::create_dir_all(directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
                    let index = self.layout.index();
                    let above = directory
                        .ancestors()
                        .take_while(|above| above.starts_with(&index));
                    // This removes no directory.
                    let _ = above.map(fs::remove_file).filter(Result::is_ok).count();
                }
                made => return made.at("create", directory),
            }
        }
        fs::create_dir_all(directory).at("create", directory)
    }

    /// Removes an entry whose manifest is gone, and the directories left empty. A remaining entry does no harm.
    pub(crate) fn remove(&self, repository: &RepositoryName, entry: &Entry) {
        let path = entry.path(self.layout, repository);
        match fs::remove_file(&path).if_there("remove", &path) {
            Ok(_) => {
                let emptied = path.ancestors().skip(1).take(2);
                let _ = emptied.map(fs::remove_dir).take_while(Result::is_ok).count();
            }
            Err(error) => {
                tracing::warn!(%repository, %error, "cannot remove an entry of the referrer index; it has no effect")
            }
        }
    }

    /// Returns the entries of a subject whose referrers sort after `after`, in order. Directories after the page are
    /// not read.
    pub(crate) fn entries(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<impl Iterator<Item = Result<Entry, FsError>> + use<>, FsError> {
        let directory = subject_directory(self.layout, repository, subject);
        let after = after.copied();
        // The directory of `after`, and a bound that sorts after its names of any type and before those of other
        // digests.
        let bound = after.map(|after| (fan_of(&after), format!("{}.", after.hex())));
        let mut fans = names_in(&directory, None)?;
        let subject = *subject;
        let mut current: Option<Box<dyn Iterator<Item = Entry> + Send>> = None;
        Ok(std::iter::from_fn(move || {
            loop {
                if let Some(entry) = current.as_mut().and_then(Iterator::next) {
                    return Some(Ok(entry));
                }
                let Reverse(fan) = fans.pop()?;
                let from = match &bound {
                    Some((first, _)) if fan < *first => continue,
                    Some((first, name)) if fan == *first => Some(name.as_str()),
                    _ => None,
                };
                match entries_in(&directory, &fan, &subject, from) {
                    Ok(entries) => current = entries.map(|entries| Box::new(entries) as Box<_>),
                    Err(error) => return Some(Err(error)),
                }
            }
        }))
    }

    /// Returns every entry of a repository.
    pub(crate) fn all_entries(&self, repository: &RepositoryName) -> Result<BTreeSet<Entry>, FsError> {
        let mut all = BTreeSet::new();
        for algorithm in Algorithm::ALL {
            let directory = self.layout.referrers(repository).join(algorithm.as_str());
            let names = names_in(&directory, None)?;
            for subject in parsed(directory, names, |name| Digest::from_hex(algorithm, name).ok()) {
                for entry in self.entries(repository, &subject, None)? {
                    all.insert(entry?);
                }
            }
        }
        Ok(all)
    }
}

/// Returns the names in a directory; none if it is not a directory, which this program does not leave there.
fn names_in(directory: &Path, after: Option<&str>) -> Result<BinaryHeap<Reverse<String>>, FsError> {
    match names_after(directory, after) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            tracing::warn!(path = %directory.display(), "the referrer index contains a file in place of a directory; it counts as empty");
            Ok(BinaryHeap::new())
        }
        names => names,
    }
}

fn fan_of(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}-{}", digest.algorithm(), hex.get(..2).unwrap_or_default())
}

/// Returns the entries in one directory; `None` if its name is not valid.
fn entries_in(
    directory: &Path,
    fan: &str,
    subject: &Digest,
    after: Option<&str>,
) -> Result<Option<impl Iterator<Item = Entry> + use<>>, FsError> {
    let algorithm = fan.split_once('-').and_then(|(name, _)| name.parse().ok());
    let Some(algorithm) = algorithm else {
        tracing::warn!(directory = %directory.display(), name = fan, "ignoring an entry with an invalid name");
        return Ok(None);
    };
    let directory = directory.join(fan);
    let names = names_in(&directory, after)?;
    let subject = *subject;
    Ok(Some(parsed(directory, names, move |name| {
        Entry::parse(&subject, algorithm, name)
    })))
}
