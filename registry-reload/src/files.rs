//! [`Files`]: files that are read together, within bounds.

use std::{
    error::Error,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files that belong together, such as a certificate and its key. Cheap to clone.
///
/// ```
/// use registry_reload::Files;
///
/// let files = Files::new(["/etc/registry/tls.crt", "/etc/registry/tls.key"], 1 << 20);
/// match files.read() {
///     Ok(contents) => assert_eq!(contents.len(), 2),
///     Err(error) => eprintln!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    paths: Arc<[PathBuf]>,
    max_bytes: u64,
}

/// Contents of all files, in the order of their paths, or the first error.
pub type Reading = Result<Vec<Vec<u8>>, Unreadable>;

/// Reason why a file could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreadable {
    /// Path of the file.
    pub path: PathBuf,
    /// Error of the system, or a message about a bound.
    pub source: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.source)
    }
}

impl Error for Unreadable {}

impl Files {
    /// Names files, which may not exist yet, and the maximum size of each.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>, max_bytes: u64) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            max_bytes,
        }
    }

    /// Returns the paths.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads all files. This blocks for as long as the file system does, but not on a named pipe.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for the first file that cannot be read, is not a regular file, or is too large.
    pub fn read(&self) -> Reading {
        let read = |path: &PathBuf| {
            read(path, self.max_bytes).map_err(|source| Unreadable {
                path: path.clone(),
                source,
            })
        };
        self.paths.iter().map(read).collect()
    }
}

fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    // For a directory, the error of the system is clearer.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::other("this is not a regular file"));
    }
    let mut contents = Vec::new();
    // The size may change meanwhile, and some file systems do not report it.
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut contents)?;
    if contents.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "this file is larger than {max_bytes} bytes"
        )));
    }
    Ok(contents)
}

/// Opens a file without waiting for the other end of a named pipe. For regular files this makes no difference.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_in_order_up_to_the_maximum_size() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "22").unwrap();

        assert_eq!(
            Files::new([&one, &two], 2).read().unwrap(),
            [b"1".to_vec(), b"22".to_vec()]
        );
        let error = Files::new([&one, &two], 1).read().unwrap_err();
        assert_eq!(error.path, two);
        assert_eq!(error.source.to_string(), "this file is larger than 1 bytes");
    }

    #[test]
    fn missing_files_and_directories_are_errors_of_the_system() {
        let directory = tempfile::tempdir().unwrap();
        let kind = |path: &Path| Files::new([path], 1).read().unwrap_err().source.kind();

        assert_eq!(kind(&directory.path().join("none")), io::ErrorKind::NotFound);
        assert_eq!(kind(directory.path()), io::ErrorKind::IsADirectory);
    }

    #[test]
    #[cfg(unix)]
    fn a_named_pipe_without_a_writer_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());

        let error = Files::new([&pipe], 1).read().unwrap_err();

        assert!(
            error.to_string().ends_with("pipe: this is not a regular file"),
            "{error}"
        );
    }
}
