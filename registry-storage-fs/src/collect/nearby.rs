//! [`Nearby`]: the open directory of the items that are examined one after the other, so that the system looks up two
//! names of an item instead of its whole path.

use crate::{
    error::{Context as _, FsError},
    links::{self, Link},
    moves::parent,
};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, statat, unlinkat},
    io::Errno,
};
use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Directory that contains the directory of the last item, open as long as one batch takes.
///
/// While items are removed, nothing else removes such a directory: those of blobs stay, and those of a repository go in a
/// batch of their own.
#[derive(Debug, Default)]
pub(super) struct Nearby(RefCell<Option<Rc<Above>>>);

#[derive(Debug)]
struct Above {
    path: PathBuf,
    open: OwnedFd,
}

/// File of a digest, in a directory of its own.
#[derive(Debug)]
pub(super) struct Item {
    path: PathBuf,
    /// `None` if it is not open. The whole path then leads to the file, or to the error.
    above: Option<Rc<Above>>,
}

impl Nearby {
    /// Returns the item at a path of the layout.
    pub(super) fn item(&self, path: PathBuf) -> Item {
        let above = parent(parent(&path));
        let mut last = self.0.borrow_mut();
        let is_last = |last: &Rc<Above>| last.path.as_os_str() == above.as_os_str();
        if !last.as_ref().is_some_and(is_last) {
            *last = Above::open(above).map(Rc::new);
        }
        let above = last.clone();
        Item { path, above }
    }
}

impl Above {
    fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        Some(Self {
            path: path.to_path_buf(),
            open,
        })
    }

    /// Returns a path below the directory, relative to it.
    fn relative<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let below = path
            .as_os_str()
            .as_bytes()
            .strip_prefix(self.path.as_os_str().as_bytes())?;
        Some(Path::new(OsStr::from_bytes(below.strip_prefix(b"/")?)))
    }
}

impl Item {
    /// Returns an item that is not examined with others beside it.
    pub(super) const fn by_path(path: PathBuf) -> Self {
        Self { path, above: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Path {
        parent(&self.path)
    }

    /// Returns a directory, and a path relative to it.
    fn at<'p>(&'p self, path: &'p Path) -> (BorrowedFd<'p>, &'p Path) {
        let near = self
            .above
            .as_ref()
            .and_then(|above| Some((above.open.as_fd(), above.relative(path)?)));
        near.unwrap_or((CWD, path))
    }

    /// Returns the number of bytes, also of anything but a file; `None` if there is nothing.
    pub(super) fn size(&self) -> Result<Option<u64>, FsError> {
        let (directory, relative) = self.at(&self.path);
        let found = statat(directory, relative, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from);
        let found = found.if_there("read the metadata of", &self.path)?;
        Ok(found.map(|found| u64::try_from(found.st_size).unwrap_or_default()))
    }

    /// Reads it as a link file.
    pub(super) fn link(&self) -> Result<Link, FsError> {
        let (directory, relative) = self.at(&self.path);
        links::look_at(directory, relative, &self.path)
    }

    /// Removes it. Returns false if there is none.
    pub(super) fn remove(&self) -> Result<bool, FsError> {
        let (directory, relative) = self.at(&self.path);
        let removed = unlinkat(directory, relative, AtFlags::empty()).map_err(io::Error::from);
        Ok(removed.if_there("remove", &self.path)?.is_some())
    }

    /// Removes its directory. Returns false if that has entries, or was not there.
    pub(super) fn remove_directory(&self) -> Result<bool, FsError> {
        let path = self.directory();
        let (directory, relative) = self.at(path);
        match unlinkat(directory, relative, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            removed => Ok(removed
                .map_err(io::Error::from)
                .if_there("remove", path)?
                .is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn items_are_found_and_removed_whichever_directory_was_the_last() {
        let root = tempfile::tempdir().unwrap();
        let path = |of: &str| root.path().join(of).join("link");
        for of in ["a/1", "a/2", "ab/1"] {
            fs::create_dir_all(parent(&path(of))).unwrap();
            fs::write(path(of), of).unwrap();
        }
        let nearby = Nearby::default();

        for (of, is_there) in [
            ("a/1", true),
            ("gone/1", false),
            ("ab/1", true),
            ("a/3", false),
            ("a/2", true),
        ] {
            let item = nearby.item(path(of));
            assert_eq!(item.size().unwrap(), is_there.then_some(of.len() as u64));
            assert_eq!(item.link().unwrap() == Link::None, !is_there);
            assert_eq!(item.remove().unwrap(), is_there);
            assert_eq!(item.remove_directory().unwrap(), is_there);
            assert!(!parent(&path(of)).exists());
        }
    }

    #[test]
    fn a_directory_with_other_entries_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/1/link");
        fs::create_dir_all(parent(&path)).unwrap();
        fs::write(parent(&path).join("other"), "x").unwrap();

        assert!(!Nearby::default().item(path.clone()).remove_directory().unwrap());
        assert!(parent(&path).exists());
    }
}
