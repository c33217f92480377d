//! [`Files`]: a temporary directory of a test registry.

use std::{
    collections::hash_map::RandomState,
    env,
    fs::{self, DirBuilder, OpenOptions},
    hash::BuildHasher as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A temporary directory that only its owner may read. Dropping it removes the directory.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Creates a directory with a name that nobody can guess. A directory that exists already is not used.
    pub(super) fn create() -> io::Result<Self> {
        let name = RandomState::new().hash_one(std::process::id());
        let path = env::temp_dir().join(format!("registry-test-{name:016x}"));
        let mut directory = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut directory, 0o700);
        directory.create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that does not exist yet.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.0.join(name))?.write_all(content)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A file that a client has added and protected stays; the system removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
