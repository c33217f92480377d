//! [`Output`]: file to which an archive or a list is written.

use super::failure::Failure;
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// File of an archive or a list. The new one takes the place of a regular file, and of nothing else.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    /// Mode of the file that is replaced.
    permissions: Option<fs::Permissions>,
}

impl Output {
    /// Looks at what has the name of an archive. A link is followed, so that it stays.
    pub(super) fn archive(path: &Path) -> Result<Self, Failure> {
        Self::at(path, "write `-`, and redirect standard output to it")
    }

    /// Looks at what has the name of a list, as for an archive.
    pub(super) fn list(path: &Path) -> Result<Self, Failure> {
        Self::at(path, "name a file for the list")
    }

    fn at(path: &Path, advice: &str) -> Result<Self, Failure> {
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let refused = |problem: &str| Err(format!("{} {problem}", path.display()).into());
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return refused("is a link to a file that does not exist; name that file");
                }
                return Ok(Self {
                    path: path.to_owned(),
                    permissions: None,
                });
            }
            Err(error) => return Err(failed(error).into()),
        };
        if found.is_dir() {
            return refused("is a directory; name a file");
        }
        if !found.is_file() {
            return refused(&format!(
                "is a pipe or a device, which a file would replace; {advice}"
            ));
        }
        Ok(Self {
            path: fs::canonicalize(path).map_err(failed)?,
            permissions: Some(found.permissions()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the complete file the mode of the one that it has replaced.
    pub(super) fn complete(self) -> Result<(), Failure> {
        let Some(permissions) = self.permissions else {
            return Ok(());
        };
        fs::set_permissions(&self.path, permissions).map_err(|error| {
            let path = self.path.display();
            format!("cannot give {path} the mode of the file that it has replaced: {error}").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // A socket stands for everything that is no file.
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        symlink("absent", path("broken")).unwrap();
        for (name, helps) in [
            ("socket", "write `-`"),
            ("broken", "name that file"),
            (".", "name a file"),
        ] {
            let refused = Output::archive(&path(name)).unwrap_err().message;
            assert!(refused.contains(helps), "{refused}");
        }
        assert_eq!(Output::archive(&path("new")).unwrap().path(), path("new"));
    }

    #[test]
    fn a_link_stays_and_the_file_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join("app.tar"), "old").unwrap();
        fs::set_permissions(root.join("app.tar"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("app.tar", root.join("link")).unwrap();

        let output = Output::archive(&root.join("link")).unwrap();
        assert_eq!(output.path(), root.join("app.tar"));
        fs::write(root.join("new"), "new").unwrap();
        fs::set_permissions(root.join("new"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(root.join("new"), output.path()).unwrap();
        output.complete().unwrap();

        let mode = fs::metadata(root.join("app.tar")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
