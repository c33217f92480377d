//! Link files: the text of a digest and nothing else, not even a newline.

use crate::{
    error::{Context, FsError},
    seams, stored_file,
};
use registry_core::Digest;
use std::{
    io::{ErrorKind, Read},
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

/// Reads a link file, and tells a garbled one from none.
pub(crate) fn look(path: &Path) -> Result<Link, FsError> {
    seams::opened(path);
    let Some(file) = stored_file::open(path).if_there("open", path)? else {
        return Ok(Link::None);
    };
    // With space for all of it, so that one call reads it.
    let mut content = Vec::with_capacity(LONGEST);
    match file.take(LONGEST as u64).read_to_end(&mut content) {
        // A directory, or a pipe that another process has open for writing, is no link.
        Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::WouldBlock) => {}
        read => {
            read.at("read", path)?;
        }
    }
    let digest = std::str::from_utf8(&content)
        .ok()
        .and_then(|text| Digest::parse(text).ok());
    Ok(digest.map_or(Link::Garbled, Link::To))
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
