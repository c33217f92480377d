//! Changes users in a password file, and preserves everything else in it.

use super::message::{Failure, say};
use registry_reload::{NotUtf8, is_utf16};
use std::{
    fmt,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines of a file, comments included.
#[derive(Debug)]
pub(super) struct UserFile {
    path: PathBuf,
    lines: Vec<Vec<u8>>,
}

impl UserFile {
    /// Creates a file without users, which will replace an existing one.
    pub(super) const fn create(path: PathBuf) -> Self {
        Self {
            path,
            lines: Vec::new(),
        }
    }

    /// Reads an existing file.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let shown = path.display();
        let bytes = fs::read(&path).map_err(|error| {
            Failure::file(match error.kind() {
                io::ErrorKind::NotFound => format!("cannot modify file {shown}; use '-c' to create it"),
                _ => format!("cannot read file {shown}: {error}"),
            })
        })?;
        if is_utf16(&bytes) {
            return Err(Failure::invalid_file(format!("{shown}: {}", NotUtf8::Utf16)));
        }
        let lines: Vec<_> = bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::to_owned)
            .collect();
        let user = |line: &[u8]| {
            let line = trimmed(line);
            line.is_empty() || line.starts_with(b"#") || line.contains(&b':')
        };
        if let Some(index) = lines.iter().position(|line| !user(line)) {
            return Err(Failure::invalid_file(format!(
                "The file {shown} does not appear to be a valid htpasswd file: line {} is not of the form user:hash.",
                index + 1
            )));
        }
        Ok(Self { path, lines })
    }

    /// Returns the hash of a user.
    pub(super) fn hash_of(&self, user: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| is_of(line, user))?;
        let hash = trimmed(line).split(|&byte| byte == b':').nth(1)?;
        str::from_utf8(hash.trim_ascii()).ok()
    }

    /// Replaces the user's line, or appends one. Returns true if the user is new.
    pub(super) fn set(&mut self, user: &str, line: &str) -> bool {
        let place = self.lines.iter().position(|line| is_of(line, user));
        let line = format!("{line}\n").into_bytes();
        match place {
            Some(place) => {
                // One line is enough, and only the first ever counted.
                let rest = self.lines.split_off(place);
                self.lines.push(line);
                self.lines
                    .extend(rest.into_iter().filter(|line| !is_of(line, user)));
            }
            None => {
                if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with(b"\n")) {
                    last.push(b'\n');
                }
                self.lines.push(line);
            }
        }
        place.is_none()
    }

    /// Removes the user. Returns true if the user existed.
    pub(super) fn delete(&mut self, user: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !is_of(line, user));
        self.lines.len() < before
    }

    /// Replaces the file atomically, so that a concurrent reader finds the old or the new one. Preserves links, mode
    /// and owner.
    pub(super) fn save(&self) -> Result<(), Failure> {
        // Where a link leads to.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let replaced = match self.replace(&path) {
            Err(error) if is_irreplaceable(error.kind()) && path.is_file() => {
                self.rewrite(&path).map(|()| None)
            }
            replaced => replaced,
        };
        let failed = |error| Failure::file(format!("cannot create file {}: {error}", self.path.display()));
        if let Some(foreign) = replaced.map_err(failed)? {
            say(foreign);
        }
        Ok(())
    }

    /// Writes a temporary file and renames it. Returns the owner of a new file if it is not that of its directory.
    fn replace(&self, path: &Path) -> io::Result<Option<Foreign>> {
        let directory = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        let before = fs::metadata(path).ok();
        let mut builder = tempfile::Builder::new();
        // Less what the process masks.
        builder
            .prefix(".htpasswd")
            .permissions(Permissions::from_mode(0o640));
        let mut file = builder.tempfile_in(directory)?;
        let mut foreign = None;
        if let Some(before) = before {
            let made = file.as_file().metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
            }
            file.as_file().set_permissions(before.permissions())?;
        } else {
            foreign = Foreign::given(path, file.as_file(), &fs::metadata(directory)?)?;
        }
        self.write(file.as_file_mut())?;
        file.persist(path)?;
        Ok(foreign)
    }

    /// Overwrites the file in place, so that its space on the disk is not released before the new text is written.
    fn rewrite(&self, path: &Path) -> io::Result<()> {
        self.write(&mut OpenOptions::new().write(true).open(path)?)
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        let text = self.lines.concat();
        file.write_all(&text)?;
        file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
        file.sync_all()
    }
}

/// New file that could not be given to the owner and group of its directory, as which the server probably reads it.
#[derive(Debug)]
struct Foreign {
    path: PathBuf,
    owner: (u32, u32),
    wanted: (u32, u32),
}

impl Foreign {
    /// Changes owner and group of a file to those of a directory, as far as permitted.
    fn given(path: &Path, file: &File, directory: &Metadata) -> io::Result<Option<Self>> {
        let wanted = (directory.uid(), directory.gid());
        let owner = |file: &File| file.metadata().map(|made| (made.uid(), made.gid()));
        if owner(file)? != wanted && fchown(file, Some(wanted.0), Some(wanted.1)).is_err() {
            // Who may not give a file away may still give it to a group of their own. What is so then is looked at.
            let _ = fchown(file, None, Some(wanted.1));
        }
        let owner = owner(file)?;
        Ok((owner != wanted).then(|| Self {
            path: path.to_owned(),
            owner,
            wanted,
        }))
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let ((owner, group), (wanted, wanted_group)) = (self.owner, self.wanted);
        write!(
            f,
            "Warning: {path} belongs to uid {owner} and gid {group}, and its directory to uid {wanted} and gid \
             {wanted_group}; if the server cannot read it, run `chown {wanted}:{wanted_group} {path}` as root."
        )
    }
}

/// Returns true if a file that cannot be replaced, for this reason, may still be writable in place.
///
/// Examples are a file that is itself mounted into a container, and one in a directory of another user. A full or
/// broken disk is no such reason: the old file stays unchanged.
const fn is_irreplaceable(reason: io::ErrorKind) -> bool {
    matches!(
        reason,
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn is_of(line: &[u8], user: &str) -> bool {
    let line = trimmed(line);
    let name = line.split(|&byte| byte == b':').next();
    line.contains(&b':') && !line.starts_with(b"#") && name == Some(user.as_bytes())
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn everything_but_the_users_line_stays_as_it_is() {
        let (_directory, path) =
            with("\u{feff}# users\r\n\r\n bob:one:Bob\nalice:two\nbob:three\n#bob:x\ncarol:four");
        let mut file = UserFile::open(path.clone()).unwrap();

        assert_eq!(file.hash_of("bob"), Some("one"));
        assert!(!file.set("bob", "bob:new"));
        assert!(file.set("dan", "dan:five"));
        assert!(file.delete("alice"));
        assert!(!file.delete("nobody"));
        file.save().unwrap();

        assert_eq!(
            fs::read_to_string(path).unwrap(),
            "\u{feff}# users\r\n\r\nbob:new\n#bob:x\ncarol:four\ndan:five\n"
        );
    }

    #[test]
    fn the_file_is_replaced_and_keeps_its_mode_and_the_links_to_it() {
        let (directory, path) = with("a:b\n");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let link = directory.path().join("link");
        symlink("users", &link).unwrap();
        let before = fs::metadata(&path).unwrap();

        let mut file = UserFile::open(link.clone()).unwrap();
        file.set("c", "c:d");
        file.save().unwrap();

        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a:b\nc:d\n");
        assert_eq!(after.mode() & 0o777, 0o640);
        assert_ne!(after.ino(), before.ino());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_belongs_to_whom_its_directory_belongs_to_and_nobody_else_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let above = fs::metadata(directory.path()).unwrap();
        let mut file = UserFile::create(path.clone());
        file.set("a", "a:b");
        file.save().unwrap();

        let made = fs::metadata(&path).unwrap();
        assert_eq!(made.mode() & 0o137, 0, "{:o}", made.mode());
        assert_eq!((made.uid(), made.gid()), (above.uid(), above.gid()));
    }

    #[test]
    fn a_file_that_cannot_be_given_away_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let file = File::create(&path).unwrap();
        let own = fs::metadata(&path).unwrap();
        assert!(
            Foreign::given(&path, &file, &fs::metadata(directory.path()).unwrap())
                .unwrap()
                .is_none()
        );
        // Root may give it to anybody.
        if own.uid() != 0 {
            let foreign = Foreign::given(&path, &file, &fs::metadata("/").unwrap())
                .unwrap()
                .unwrap();
            assert_eq!((foreign.owner.0, foreign.wanted.0), (own.uid(), 0));
        }
        let foreign = Foreign {
            path: "users".into(),
            owner: (1000, 1000),
            wanted: (0, 0),
        };
        assert_eq!(
            foreign.to_string(),
            "Warning: users belongs to uid 1000 and gid 1000, and its directory to uid 0 and gid 0; if the server cannot \
             read it, run `chown 0:0 users` as root."
        );
    }

    #[test]
    fn a_file_of_utf_16_is_left_alone() {
        let (_directory, path) = with("");
        let bytes: Vec<u8> = "ann:x\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&path, bytes).unwrap();
        let failure = UserFile::open(path).unwrap_err();
        assert_eq!(failure.code, 7);
        assert!(
            failure
                .message
                .ends_with("users: this file is UTF-16: save it as UTF-8"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_file_is_written_over_where_it_cannot_be_replaced_and_never_where_there_may_be_no_room() {
        use rustix::io::Errno;
        let is_irreplaceable =
            |error: Errno| is_irreplaceable(io::Error::from_raw_os_error(error.raw_os_error()).kind());
        for error in [Errno::BUSY, Errno::XDEV, Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            assert!(is_irreplaceable(error), "{error}");
        }
        for error in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::IO,
            Errno::FBIG,
            Errno::MFILE,
            Errno::NFILE,
        ] {
            assert!(!is_irreplaceable(error), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_written_over_ends_where_the_new_text_ends() {
        let (_directory, path) = with("alice:one\nbob:two\n");
        let before = fs::metadata(&path).unwrap();

        let mut file = UserFile::open(path.clone()).unwrap();
        file.delete("alice");
        file.rewrite(&path).unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "bob:two\n");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino());
    }

    #[test]
    fn what_is_no_password_file_is_left_alone() {
        let (_directory, path) = with("# x\nalice:one\nversion 0.1\n");
        let failure = UserFile::open(path).unwrap_err();
        assert_eq!(failure.code, 7);
        assert!(failure.message.ends_with("line 3 is not of the form user:hash."));
    }
}
