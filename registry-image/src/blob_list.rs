//! [`BlobList`]: digests and sizes of the blobs that an export has.
//!
//! The text has a line for each blob, in the order of the digests. The last line has the digest of all lines before it,
//! so that a list that was cut or edited is refused. Each list has exactly one text:
//!
//! ```text
//! blobs 1
//! sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae 3
//! end sha256:1f2c…
//! ```

use crate::{durable, error::Error};
use registry_core::{Algorithm, Digest};
use std::{
    collections::{BTreeMap, btree_map},
    fmt::{self, Write as _},
    fs::File,
    io::Read as _,
    path::Path,
};

/// First line, with the version of the form.
const BEGIN: &str = "blobs 1\n";
const END: &str = "end ";
/// Maximum size of a file, in bytes. It has about three million blobs.
const FILE: u64 = 256 << 20;

/// Blobs of an export, with their sizes.
///
/// [`Export::write`](crate::Export::write) returns the list of its blobs, and [`Export::since`](crate::Export::since)
/// leaves out the blobs of such a list.
///
/// ```
/// use registry_core::{Algorithm, Digest};
/// use registry_image::BlobList;
///
/// let layer = Digest::of(Algorithm::Sha256, b"a layer");
/// let list: BlobList = [(layer, 7)].into_iter().collect();
///
/// let text = list.to_string();
/// assert_eq!(text.lines().nth(1).unwrap(), format!("{layer} 7"));
/// assert_eq!(BlobList::parse(text.as_bytes())?, list);
/// # Ok::<(), registry_image::InvalidBlobList>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BlobList {
    blobs: BTreeMap<Digest, u64>,
}

/// Error for bytes that are not a list of blobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBlobList {
    /// The first line is another one.
    #[error("it does not begin with the line `blobs 1`, so it is no list of blobs that this version reads")]
    Begin,
    /// A line is malformed.
    #[error(
        "line {line} is not a digest and a size, or not in the order of the digests; write the list again"
    )]
    #[non_exhaustive]
    Line {
        /// Number of the line.
        line: usize,
    },
    /// The last line is missing, or has another digest.
    #[error(
        "it was cut or changed: its last line does not have the digest of the lines before; copy it again"
    )]
    End,
}

impl BlobList {
    /// Parses a list.
    ///
    /// # Errors
    ///
    /// [`InvalidBlobList`] if the bytes are not the text of a list.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidBlobList> {
        let text = str::from_utf8(bytes).ok().ok_or(InvalidBlobList::Begin)?;
        let rest = text.strip_prefix(BEGIN).ok_or(InvalidBlobList::Begin)?;
        let mut blobs = BTreeMap::new();
        let mut listed = BEGIN.len();
        for (number, line) in rest.split_inclusive('\n').enumerate() {
            // A line that was cut must not pass for one with a smaller size.
            let whole = line.strip_suffix('\n').ok_or(InvalidBlobList::End)?;
            if let Some(end) = whole.strip_prefix(END) {
                let digest = Digest::of(Algorithm::Sha256, bytes.get(..listed).unwrap_or_default());
                let is_last = listed + line.len() == bytes.len();
                let is_whole = is_last && end == digest.to_string();
                return is_whole.then_some(Self { blobs }).ok_or(InvalidBlobList::End);
            }
            let malformed = || InvalidBlobList::Line { line: number + 2 };
            let (digest, size) = blob(whole).ok_or_else(malformed)?;
            if blobs.last_key_value().is_some_and(|(last, _)| *last >= digest) {
                return Err(malformed());
            }
            blobs.insert(digest, size);
            listed += line.len();
        }
        Err(InvalidBlobList::End)
    }

    /// Reads a list from a file.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file cannot be read, or is no list.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let place = || path.display().to_string();
        let file = File::open(path).map_err(Error::io("open", path.display()))?;
        let mut bytes = Vec::new();
        let read = file.take(FILE + 1).read_to_end(&mut bytes);
        read.map_err(Error::io("read", path.display()))?;
        if bytes.len() as u64 > FILE {
            let reason = format!("it has more than {FILE} bytes, so it is no list of blobs");
            return Err(Error::layout(place(), "list", reason));
        }
        Self::parse(&bytes).map_err(|error| Error::layout(place(), "list", error.to_string()))
    }

    /// Writes the list to a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file cannot be written. It is [transient](Error::is_transient) while another one writes it.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let written = durable::write(path, self.to_string().as_bytes());
        written.map_err(Error::io("write", path.display()))
    }

    /// Returns the digest in the last line of its text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Algorithm::Sha256, self.lines().as_bytes())
    }

    /// Returns the size of a blob, if the list has it.
    #[must_use]
    pub fn size_of(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).copied()
    }

    /// Returns the number of blobs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Returns true if there are no blobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Returns the blobs and their sizes, in the order of the digests.
    pub fn iter(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.blobs.iter().map(|(digest, size)| (digest, *size))
    }

    fn lines(&self) -> String {
        let mut text = BEGIN.to_owned();
        for (digest, size) in &self.blobs {
            writeln!(text, "{digest} {size}").expect("a string takes everything");
        }
        text
    }
}

/// Parses a line, which has exactly one form.
fn blob(line: &str) -> Option<(Digest, u64)> {
    let (digest, size) = line.split_once(' ')?;
    let (digest, number): (_, u64) = (Digest::parse(digest).ok()?, size.parse().ok()?);
    (number.to_string() == size).then_some((digest, number))
}

impl Extend<(Digest, u64)> for BlobList {
    fn extend<T: IntoIterator<Item = (Digest, u64)>>(&mut self, blobs: T) {
        self.blobs.extend(blobs);
    }
}

impl FromIterator<(Digest, u64)> for BlobList {
    fn from_iter<T: IntoIterator<Item = (Digest, u64)>>(blobs: T) -> Self {
        Self {
            blobs: blobs.into_iter().collect(),
        }
    }
}

impl IntoIterator for BlobList {
    type Item = (Digest, u64);
    type IntoIter = btree_map::IntoIter<Digest, u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.blobs.into_iter()
    }
}

impl fmt::Debug for BlobList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may have a million blobs.
        f.debug_struct("BlobList")
            .field("len", &self.blobs.len())
            .finish_non_exhaustive()
    }
}

/// Writes the text of the list.
impl fmt::Display for BlobList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let digest = Digest::of(Algorithm::Sha256, lines.as_bytes());
        f.write_str(&lines)?;
        writeln!(f, "{END}{digest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(contents: &[&str]) -> BlobList {
        let described = |content: &&str| {
            let bytes = content.as_bytes();
            (Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
        };
        contents.iter().map(described).collect()
    }

    /// Ends lines as a list does.
    fn ended(lines: &str) -> String {
        format!("{lines}end {}\n", Digest::of(Algorithm::Sha256, lines.as_bytes()))
    }

    #[test]
    fn a_list_is_read_as_it_was_written_and_has_the_digest_of_its_end() {
        for contents in [&[][..], &["a"], &["a", "bc", "def"]] {
            let list = list(contents);
            let text = list.to_string();
            assert_eq!(BlobList::parse(text.as_bytes()).unwrap(), list);
            assert!(text.ends_with(&format!("\nend {}\n", list.digest())), "{text}");
            assert_eq!(list.len(), contents.len());
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_refused() {
        let text = list(&["a", "bc"]).to_string();
        for len in 0..text.len() {
            assert!(BlobList::parse(&text.as_bytes()[..len]).is_err(), "cut at {len}");
        }
        for more in ["\n", "end", &text] {
            let longer = format!("{text}{more}");
            assert_eq!(BlobList::parse(longer.as_bytes()), Err(InvalidBlobList::End));
        }
        let changed = text.replacen(" 1\n", " 2\n", 1);
        assert!(BlobList::parse(changed.as_bytes()).is_err());
    }

    #[test]
    fn malformed_lines_are_named_by_their_numbers() {
        let (a, b) = (
            Digest::of(Algorithm::Sha256, b"a"),
            Digest::of(Algorithm::Sha256, b"b"),
        );
        let (first, second) = (a.min(b), a.max(b));
        for (lines, line) in [
            (format!("{first}\n"), 2),
            (format!("{first} x\n"), 2),
            (format!("{first} 01\n"), 2),
            (format!("{first} +1\n"), 2),
            (format!("{first} 1 2\n"), 2),
            (format!("{first} 1\r\n"), 2),
            (format!("{first} 18446744073709551616\n"), 2),
            ("md5:00 1\n".to_owned(), 2),
            ("\n".to_owned(), 2),
            (format!("{first} 1\n{first} 1\n"), 3),
            (format!("{second} 1\n{first} 1\n"), 3),
        ] {
            let text = ended(&format!("blobs 1\n{lines}"));
            let refused = BlobList::parse(text.as_bytes());
            assert_eq!(refused, Err(InvalidBlobList::Line { line }), "{text}");
        }
        let other = ended("blobs 2\n");
        assert_eq!(BlobList::parse(other.as_bytes()), Err(InvalidBlobList::Begin));
        assert_eq!(BlobList::parse(b"blobs 1\n\xff"), Err(InvalidBlobList::Begin));
    }

    #[test]
    fn a_file_has_the_list_and_others_are_refused_with_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.list");
        let list = list(&["a", "bc"]);

        list.write_file(&path).unwrap();
        assert_eq!(BlobList::open(&path).unwrap(), list);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);

        std::fs::write(&path, "blobs 1\n").unwrap();
        let refused = BlobList::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains("app.list") && refused.contains("was cut"),
            "{refused}"
        );
    }
}
