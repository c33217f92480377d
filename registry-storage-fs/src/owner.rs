//! [`Owner`]: the locks of the process that owns a directory. [`OwnerRecord`]: the text in the lock file.
//!
//! Lines of the lock file `_owner`:
//!
//! 1. the process id
//! 2. the name of the host or container
//! 3. the path of the control socket, if there is one: relative to the directory of `_owner`, or absolute

use crate::{
    error::{Context as _, FsError, OpenError},
    file_lock::FileLock,
    layout::Layout,
    machine::host_name,
    referrer_index::IndexOwner,
    staging::OwnerFile,
};
use rustix::io::Errno;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

/// Maximum number of bytes read from a lock file: more than any path of a socket has.
const LONGEST: u64 = 4096;

/// Proof that this process owns a directory, held while it is open.
pub(crate) struct Owner {
    /// Released before the directory is.
    pub(crate) index: IndexOwner,
    directory: DirectoryLock,
}

impl Owner {
    pub(crate) const fn new(directory: DirectoryLock, index: IndexOwner) -> Self {
        Self { index, directory }
    }

    /// Writes the path of the control socket into the lock file, or removes it from there.
    pub(crate) fn name_socket(&self, layout: &Layout, socket: Option<&Path>) -> io::Result<()> {
        let socket = socket.map(|socket| socket.strip_prefix(layout.top()).unwrap_or(socket));
        self.directory.write(socket.map(Path::as_os_str))
    }
}

/// Right of this process on a directory.
pub(crate) enum Tenure {
    /// It may write.
    Owner(Owner),
    /// It may read, and no process owns the directory. Without a lock, none did at the opening.
    Preview { _lock: Option<DirectoryLock> },
    /// It may read.
    Reader,
}

impl Tenure {
    /// Returns the proof of ownership, if this process may write.
    pub(crate) const fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Owner(owner) => Some(owner),
            Self::Preview { .. } | Self::Reader => None,
        }
    }
}

/// Process that owns a directory, or that owned it last, according to its lock file.
///
/// The file outlives the process. Only an attempt to [open](crate::FsStorage::open) the directory, or to connect to the
/// socket, shows if the process still runs.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let root = directory.path();
/// use registry_storage_fs::{FsStorage, OwnerRecord};
///
/// assert_eq!(OwnerRecord::read(root)?, None);
/// let storage = FsStorage::open(root)?;
/// let owner = OwnerRecord::read(root)?.ok_or("no owner")?;
/// assert_eq!((owner.process, owner.socket), (Some(std::process::id()), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerRecord {
    /// Id of the process, valid only on its host or in its container.
    pub process: Option<u32>,
    /// Name of that host or container.
    pub host: Option<String>,
    /// Path of the Unix socket on which the process takes commands, if it has one.
    pub socket: Option<PathBuf>,
    /// Id of the user to whom the lock file belongs.
    pub user: u32,
}

impl OwnerRecord {
    /// Reads the lock file of a storage. Returns `None` if there is none, since no process has owned the directory.
    ///
    /// # Errors
    ///
    /// The error of the system if the file cannot be read.
    pub fn read(root: impl AsRef<Path>) -> io::Result<Option<Self>> {
        let layout = Layout::new(root.as_ref());
        let file = match File::open(layout.owner()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        Self::of(&file, &layout).map(Some)
    }

    fn of(file: &File, layout: &Layout) -> io::Result<Self> {
        let user = file.metadata()?.uid();
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut line = || lines.next().map(String::from_utf8_lossy);
        let process = line().and_then(|id| id.trim().parse().ok());
        let host = line().map(|host| host.into_owned());
        let socket = lines
            .next()
            .map(|path| layout.top().join(OsStr::from_bytes(path)));
        Ok(Self {
            process,
            host,
            socket,
            user,
        })
    }
}

/// The lock on a directory.
pub(crate) struct DirectoryLock {
    file: FileLock,
}

impl DirectoryLock {
    /// Locks the directory `root`, which can be written.
    pub(crate) fn take(layout: &Layout, root: &Path) -> Result<Self, OpenError> {
        let path = layout.owner();
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .at("create", &path)
            .map_err(|error| OpenError::not_writable(root, error.into_source()))?;
        let file = FileLock::exclusive(file).map_err(|refused| not_locked(refused, layout, root))?;
        let lock = Self { file };
        match lock.write(None) {
            Ok(()) => Ok(lock),
            Err(source) => Err(OpenError::not_writable(root, source)),
        }
    }

    /// Keeps other processes from owning the directory, without writing anything. `None` if there is no lock file.
    pub(crate) fn share(layout: &Layout, root: &Path) -> Result<Option<Self>, OpenError> {
        let path = layout.owner();
        let file = File::open(&path).if_there("open", &path);
        let Some(file) = file.map_err(|error| OpenError::unusable(root, error))? else {
            return Ok(None);
        };
        match FileLock::shared(file) {
            Ok(file) => Ok(Some(Self { file })),
            Err(refused) => Err(not_locked(refused, layout, root)),
        }
    }

    /// Writes who this process is. A reader meanwhile sees the first lines as they were before: they are the same.
    fn write(&self, socket: Option<&OsStr>) -> io::Result<()> {
        let mut text = format!("{}\n{}\n", std::process::id(), host_name()).into_bytes();
        if let Some(socket) = socket {
            if socket.as_bytes().contains(&b'\n') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the path of a socket contains a line feed",
                ));
            }
            text.extend_from_slice(socket.as_bytes());
            text.push(b'\n');
        }
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }

    /// Identifies the locked file, so that a check finds one that took its place.
    pub(crate) fn locked_file(&self, layout: &Layout) -> Result<Option<OwnerFile>, FsError> {
        let path = layout.owner();
        OwnerFile::of(&self.file, &path).at("read the metadata of", &path)
    }
}

/// Explains why the lock file could not be locked.
fn not_locked((file, errno): (File, Errno), layout: &Layout, root: &Path) -> OpenError {
    match errno {
        Errno::WOULDBLOCK => in_use(file, layout, root),
        other => OpenError::Unusable {
            path: root.to_path_buf(),
            action: format!("cannot lock {}", layout.owner().display()),
            source: other.into(),
        },
    }
}

/// Explains that another process has the lock: the one that the file names, or processes that only preview something.
fn in_use(file: File, layout: &Layout, root: &Path) -> OpenError {
    let owner = match FileLock::shared(file) {
        Ok(_) => None,
        Err((file, _)) => OwnerRecord::of(&file, layout).ok(),
    };
    OpenError::InUse {
        path: root.to_path_buf(),
        process: owner.as_ref().and_then(|owner| owner.process),
        host: owner.and_then(|owner| owner.host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsStorage;

    #[test]
    fn previews_share_a_directory_and_keep_owners_out() {
        let root = tempfile::tempdir().unwrap();
        let preview = || FsStorage::options().preview().open(root.path());
        drop(FsStorage::open(root.path()).unwrap());
        let both = [preview().unwrap(), preview().unwrap()];

        let refused = FsStorage::open(root.path()).unwrap_err();

        // The process that the file names has ended.
        assert!(
            matches!(refused, OpenError::InUse { process: None, .. }),
            "{refused:?}"
        );
        drop(both);
        let _owner = FsStorage::open(root.path()).unwrap();
        let refused = preview().unwrap_err();
        assert!(
            matches!(refused, OpenError::InUse { process: Some(_), .. }),
            "{refused:?}"
        );
    }

    #[test]
    fn the_lock_file_names_the_socket_as_long_as_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let storage = FsStorage::open(root).unwrap();
        let beside = storage.control_socket().unwrap();
        let read = || OwnerRecord::read(root).unwrap().unwrap();
        let before = read();

        for socket in [&*beside, Path::new("/run/registry/a socket")] {
            storage.name_socket(Some(socket)).unwrap();
            assert_eq!(read().socket.as_deref(), Some(socket));
            assert_eq!(
                (read().process, read().host),
                (before.process, before.host.clone())
            );
        }
        storage.name_socket(None).unwrap();
        assert_eq!(read(), before);

        let refused = storage.name_socket(Some(Path::new("a\nb"))).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read(), before);
    }

    #[test]
    fn a_socket_beside_the_storage_is_found_where_the_directory_is_mounted() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("inside"), directory.path().join("outside"));
        let storage = FsStorage::open(&inside).unwrap();
        storage.name_socket(storage.control_socket().as_deref()).unwrap();

        std::os::unix::fs::symlink(&inside, &outside).unwrap();

        let found = OwnerRecord::read(&outside).unwrap().unwrap().socket;
        assert_eq!(found, Some(outside.join("docker/registry/v2/_control/socket")));
    }

    #[test]
    fn the_next_owner_names_no_socket_of_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let storage = FsStorage::open(root).unwrap();
        storage.name_socket(storage.control_socket().as_deref()).unwrap();
        drop(storage);

        let _next = FsStorage::open(root).unwrap();

        assert_eq!(OwnerRecord::read(root).unwrap().unwrap().socket, None);
    }

    #[test]
    fn a_reader_has_no_socket() {
        let directory = tempfile::tempdir().unwrap();
        let reader = FsStorage::options().read_only().open(directory.path()).unwrap();

        assert_eq!(reader.control_socket(), None);
        assert!(reader.name_socket(Some(Path::new("/run/socket"))).is_err());
    }
}
