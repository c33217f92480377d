//! Link files: the text of a digest and nothing else, not even a newline.

use crate::{
    error::{Context, FsError},
    seams, stored_file,
};
use registry_core::{Algorithm, Digest};
use rustix::{fd::BorrowedFd, fs::CWD};
use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

/// Maximum number of bytes read from a link file: more than any digest has.
const LONGEST: usize = 256;

/// Content of a link file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// There is no file.
    None,
    /// Anything but a digest.
    Garbled,
    To(Digest),
}

/// Reads the digest in a link file; `None` if there is none.
///
/// A file without a digest counts as absent. A power loss can leave an empty one, since registry:2 does not sync. Its
/// target has to be pushed again, which repairs the link.
pub(crate) fn read(path: &Path) -> Result<Option<Digest>, FsError> {
    Ok(match look(path)? {
        Link::To(digest) => Some(digest),
        Link::None => None,
        Link::Garbled => {
            tracing::warn!(path = %path.display(), "a link file contains no digest; it counts as absent");
            None
        }
    })
}

/// Reads the link to a blob or manifest, whose file lies below its digest; `None` if there is none.
///
/// registry:2 links a sha512 to the sha256 of the same bytes. A link to anything else is garbled: its content would be
/// served under a digest that it does not have.
pub(crate) fn read_of(path: &Path, digest: &Digest) -> Result<Option<Digest>, FsError> {
    Ok(match look_of(path, digest)? {
        Link::To(target) => Some(target),
        Link::None => None,
        Link::Garbled => {
            tracing::warn!(path = %path.display(), "a link file contains no digest, or a wrong one; it counts as absent");
            None
        }
    })
}

/// Reads such a link, and tells a garbled one from none.
pub(crate) fn look_of(path: &Path, digest: &Digest) -> Result<Link, FsError> {
    let is_other_name =
        |target: &Digest| (digest.algorithm(), target.algorithm()) == (Algorithm::Sha512, Algorithm::Sha256);
    Ok(match look(path)? {
        Link::To(target) if target != *digest && !is_other_name(&target) => Link::Garbled,
        link => link,
    })
}

/// Reads a link file, and tells a garbled one from none.
pub(crate) fn look(path: &Path) -> Result<Link, FsError> {
    look_at(CWD, path, path)
}

/// Does the same by a path that is relative to a directory. `path` is the same file from here.
pub(crate) fn look_at(directory: BorrowedFd<'_>, relative: &Path, path: &Path) -> Result<Link, FsError> {
    seams::opened(path);
    let Some(file) = stored_file::open_at(directory, relative, path).if_there("open", path)? else {
        return Ok(Link::None);
    };
    let link = match digest_in(file) {
        // A directory, or a pipe that another process has open for writing, is no link.
        Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::WouldBlock) => None,
        read => read.at("read", path)?,
    };
    Ok(link.map_or(Link::Garbled, Link::To))
}

/// Reads a file up to its end, or until its content is a digest: most links take one call.
fn digest_in(mut file: File) -> io::Result<Option<Digest>> {
    let (mut content, mut length) = ([0; LONGEST], 0);
    loop {
        let rest = content.get_mut(length..).unwrap_or_default();
        let read = match file.read(rest) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        length += read;
        let text = content.get(..length).and_then(|text| str::from_utf8(text).ok());
        let digest = text.and_then(|text| Digest::parse(text).ok());
        if read == 0 || digest.is_some() {
            return Ok(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::Algorithm;
    use std::fs;

    #[test]
    fn only_the_bare_text_of_a_digest_is_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link");
        let digest = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(read(&path.join("below/a/missing/one")).unwrap(), None);

        fs::write(&path, digest.to_string()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(digest));

        for garbage in [
            "",
            "sha256:",
            "\0\0\0\0",
            &format!("{digest}\n"),
            &"x".repeat(1000),
        ] {
            fs::write(&path, garbage).unwrap();
            assert_eq!(read(&path).unwrap(), None, "{garbage:?}");
        }

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }
}
