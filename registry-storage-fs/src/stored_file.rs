//! Opens files of the layout. A pipe or a device in place of a file must not block a thread.

use rustix::{
    fd::BorrowedFd,
    fs::{CWD, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Opens a file for reading without waiting.
///
/// Directories, pipes and devices can be opened, too. The caller checks the metadata. A socket cannot be opened; the
/// null device is opened in its place.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_at(CWD, path, path)
}

/// Does the same by a path that is relative to a directory. `path` is the same file from here.
pub(crate) fn open_at(directory: BorrowedFd<'_>, relative: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::io::retry_on_intr(|| rustix::fs::openat(directory, relative, flags, Mode::empty())) {
        Err(Errno::NXIO | Errno::NODEV) if fs::metadata(path).is_ok_and(|there| !there.is_file()) => {
            File::open("/dev/null")
        }
        opened => Ok(opened.map(File::from)?),
    }
}

/// Reads a small file whole. Anything that is no file counts as absent.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
