//! Reading of the file, with errors that help an operator who has just started a server.

use crate::{
    file::{Malformed, PasswordFile, Problem},
    formats::Formats,
    hash::{MakeError, Scheme, hash},
    random::{RandomError, fill},
};
use registry_reload::{Reading, Unreadable, is_utf16};
use std::{
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Reason why no users could be read.
///
/// ```
/// use registry_auth_htpasswd::Htpasswd;
///
/// let error = Htpasswd::open("/etc/none/users").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "there is no htpasswd file /etc/none/users; `htpasswd -Bc /etc/none/users USER` creates one"
/// );
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file does not exist.
    #[error("there is no htpasswd file {}{}", path.display(), Similar { path, files: similar })]
    #[non_exhaustive]
    Missing {
        /// Path of the file.
        path: PathBuf,
        /// Files in the same directory that look like an htpasswd file.
        similar: Vec<PathBuf>,
    },
    /// The path is a directory. Container engines create one when the file to mount does not exist.
    #[error(
        "the htpasswd file {} is a directory; if it is mounted into a container, the host path did not exist when \
         the container was created",
        path.display()
    )]
    #[non_exhaustive]
    Directory {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the htpasswd file {}{}", path.display(), Denied { path, source })]
    #[non_exhaustive]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The file is UTF-16, as PowerShell and editors of Windows write it.
    #[error("the htpasswd file {}: this file is UTF-16: save it as UTF-8", path.display())]
    #[non_exhaustive]
    Utf16 {
        /// Path of the file.
        path: PathBuf,
    },
    /// A line is malformed.
    #[error("the htpasswd file {}, line {line}: {problem}", path.display())]
    #[non_exhaustive]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Line number, from 1 on.
        line: usize,
        /// Fault of the line.
        problem: Problem,
    },
    /// The file did not exist and could not be created.
    #[error("cannot create the htpasswd file {}", path.display())]
    #[non_exhaustive]
    Uncreatable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The system gave no random bytes, which keys and new passwords need.
    #[error("the system provides no random bytes")]
    Random(#[source] RandomError),
}

/// Parses the contents of the file, or explains why it could not be read.
pub(crate) fn load(path: &Path, reading: Reading, formats: &Formats) -> Result<PasswordFile, LoadError> {
    let bytes = reading.map_err(|Unreadable { source, .. }| match source.kind() {
        io::ErrorKind::NotFound => LoadError::Missing {
            path: path.to_owned(),
            similar: similar(path),
        },
        io::ErrorKind::IsADirectory => LoadError::Directory {
            path: path.to_owned(),
        },
        _ => LoadError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })?;
    let bytes = bytes.concat();
    if is_utf16(&bytes) {
        return Err(LoadError::Utf16 {
            path: path.to_owned(),
        });
    }
    PasswordFile::parse(&bytes, formats).map_err(|Malformed { line, problem }| LoadError::Malformed {
        path: path.to_owned(),
        line,
        problem,
    })
}

/// Finds users' files beside `path`, for a hint in case the configured name is wrong.
fn similar(path: &Path) -> Vec<PathBuf> {
    const LOOKED_AT: usize = 200;
    const LARGEST: u64 = 1 << 20;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(directory.unwrap_or_else(|| Path::new("."))) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .take(LOOKED_AT)
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let path = directory.map_or_else(|| PathBuf::from(&name), |directory| directory.join(&name));
            let metadata = fs::metadata(&path).ok()?;
            let small = metadata.is_file() && metadata.len() <= LARGEST;
            let bytes = small.then(|| fs::read(&path).ok()).flatten()?;
            let file = PasswordFile::parse(&bytes, &Formats::default()).ok()?;
            (!file.users.is_empty()).then_some(path)
        })
        .collect();
    files.sort();
    files
}

/// Hint for a file that this process may not read: its owner, and the command that gives access.
struct Denied<'a> {
    path: &'a Path,
    source: &'a io::Error,
}

impl fmt::Display for Denied<'_> {
    #[cfg(unix)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.kind() != io::ErrorKind::PermissionDenied {
            return Ok(());
        }
        let user = rustix::process::geteuid().as_raw();
        denied(f, self.path, user)
    }

    #[cfg(not(unix))]
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Writes the hint about the file, or about a directory on its path that hides it.
#[cfg(unix)]
fn denied(f: &mut dyn fmt::Write, path: &Path, user: u32) -> fmt::Result {
    use std::os::unix::fs::MetadataExt as _;
    let seen = path.ancestors().find_map(|at| Some((at, fs::metadata(at).ok()?)));
    let Some((at, metadata)) = seen else {
        return write!(f, " (the server runs as uid {user})");
    };
    let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let of_whom =
        format!("uid {owner} and gid {group}, with mode {mode:04o}, and the server runs as uid {user}");
    let at_shown = at.display();
    if at == path {
        write!(
            f,
            " (it belongs to {of_whom}; `chown {user} {at_shown}` as root gives access)"
        )
    } else {
        write!(
            f,
            " (the directory {at_shown} belongs to {of_whom}; `chmod a+x {at_shown}` gives access)"
        )
    }
}

/// End of the message about a missing file.
struct Similar<'a> {
    path: &'a Path,
    files: &'a [PathBuf],
}

impl fmt::Display for Similar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            [] => write!(f, "; `htpasswd -Bc {} USER` creates one", self.path.display()),
            [one] => write!(f, ", but {} looks like one", one.display()),
            [first, rest @ ..] => {
                write!(f, ", but these look like one: {}", first.display())?;
                rest.iter().try_for_each(|file| write!(f, ", {}", file.display()))
            }
        }
    }
}

/// Creates the file as registry:2 does if it is missing or empty: with the user `docker` and a random password, which
/// is logged because it is known nowhere else.
///
/// If several processes start together, one creates it and the others find it.
pub(crate) fn create_if_missing(path: &Path) -> Result<(), LoadError> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(());
    }
    let uncreatable = |source| LoadError::Uncreatable {
        path: path.to_owned(),
        source,
    };
    let mut file = locked(path).map_err(uncreatable)?;
    if file.metadata().map_err(uncreatable)?.len() > 0 {
        return Ok(());
    }
    let mut random = [0; 16];
    fill(&mut random).map_err(LoadError::Random)?;
    let mut password = String::with_capacity(2 * random.len());
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(password, "{byte:02x}");
    }
    let hash = hash(password.as_bytes(), Scheme::default()).map_err(|error| match error {
        MakeError::Random(error) => LoadError::Random(error),
        error => uncreatable(io::Error::other(error)),
    })?;
    let written = file.write_all(format!("docker:{hash}\n").as_bytes());
    if let Err(error) = written.and_then(|()| file.sync_all()) {
        // Half a line would make the file invalid for good.
        let _ = file.set_len(0);
        return Err(uncreatable(error));
    }
    tracing::warn!(
        path = %path.display(),
        user = "docker",
        password,
        "created an htpasswd file with one user; the password is not shown again"
    );
    Ok(())
}

/// Opens the file and locks it until it is closed. Creates it if needed; if empty, only its owner may read it.
fn locked(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.lock()?;
    #[cfg(unix)]
    if file.metadata()?.len() == 0 {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn told(path: &Path) -> String {
        let mut text = String::new();
        denied(&mut text, path, 65532).unwrap();
        text
    }

    #[test]
    fn a_file_that_may_not_be_read_is_told_with_whose_it_is_and_what_helps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (uid, gid) = fs::metadata(&path).map(|file| (file.uid(), file.gid())).unwrap();
        let shown = path.display();

        assert_eq!(
            told(&path),
            format!(
                " (it belongs to uid {uid} and gid {gid}, with mode 0600, and the server runs as uid 65532; `chown 65532 \
                 {shown}` as root gives access)"
            )
        );
        let error = LoadError::Unreadable {
            path,
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(error.to_string().contains("with mode 0600"), "{error}");
    }

    #[test]
    fn a_directory_that_hides_the_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().display();
        let said = told(&directory.path().join("secret/users"));
        assert!(
            said.starts_with(&format!(" (the directory {shown} belongs to uid ")),
            "{said}"
        );
        assert!(
            said.ends_with(&format!("`chmod a+x {shown}` gives access)")),
            "{said}"
        );
    }
}
