//! Pipes and compressed archives, written to an unnamed file within bounds.

use crate::{
    error::Error,
    layout::{PIECE, fill},
};
use flate2::read::MultiGzDecoder;
use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Write as _},
    path::Path,
    rc::Rc,
};

/// Bounds of what an archive may grow to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) ratio: u64,
    /// Number of bytes up to which the ratio does not count.
    pub(super) free: u64,
}

/// Compression of an archive, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    /// Name of a format that is not supported.
    Unsupported(&'static str),
}

impl Compression {
    pub(super) fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Unsupported("zstd"),
            [0xfd, b'7', b'z', b'X', ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', ..] => Self::Unsupported("bzip2"),
            _ => Self::None,
        }
    }
}

/// Writes an archive to an unnamed file in `directory`, without its compression.
pub(super) fn spool(
    place: &str,
    mut reader: impl Read,
    directory: &Path,
    bounds: Bounds,
) -> Result<File, Error> {
    let failed = |error| Error::io("read", place)(error);
    let mut begin = [0; 4];
    let read = fill(&mut reader, &mut begin).map_err(failed)?;
    let begin = begin.get(..read).unwrap_or_default().to_vec();
    let compression = Compression::of(&begin);
    let consumed = Rc::new(Cell::new(0));
    let counted = Counted {
        reader: io::Cursor::new(begin).chain(reader),
        consumed: Rc::clone(&consumed),
    };
    let mut plain: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(counted),
        Compression::Gzip => Box::new(MultiGzDecoder::new(counted)),
        Compression::Unsupported(name) => {
            let reason = format!("compressed with {name}; decompress it first");
            return Err(Error::layout(place, "archive", reason));
        }
    };
    let mut file =
        tempfile::tempfile_in(directory).map_err(Error::io("create a file in", directory.display()))?;
    let mut written = 0_u64;
    let mut piece = vec![0; PIECE];
    loop {
        let read = fill(&mut *plain, &mut piece).map_err(failed)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(file);
        };
        written += read as u64;
        if written > bounds.bytes {
            let reason = format!(
                "more than {} bytes without compression; raise the limit if you trust it",
                bounds.bytes
            );
            return Err(Error::layout(place, "archive", reason));
        }
        if written > bounds.free.max(consumed.get().saturating_mul(bounds.ratio)) {
            let reason = format!(
                "it grows to more than {} times its size without compression; decompress it first if you trust it",
                bounds.ratio
            );
            return Err(Error::layout(place, "archive", reason));
        }
        file.write_all(bytes)
            .map_err(Error::io("write a file in", directory.display()))?;
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
    reader: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.consumed.set(self.consumed.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};

    fn zeros(size: u64) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::best());
        io::copy(&mut io::repeat(0).take(size), &mut encoder).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bounds = |bytes, ratio| Bounds {
            bytes,
            ratio,
            free: 1 << 20,
        };
        let bomb = zeros(2 << 20);
        let spool = |bytes: &[u8], bounds| spool("bomb.tgz", bytes, directory.path(), bounds);

        let by_ratio = spool(&bomb, bounds(u64::MAX, 100)).unwrap_err().to_string();
        assert!(
            by_ratio.starts_with("bomb.tgz: ") && by_ratio.contains("100 times"),
            "{by_ratio}"
        );
        let by_size = spool(&bomb, bounds(1 << 20, u64::MAX)).unwrap_err().to_string();
        assert!(by_size.contains("more than 1048576 bytes"), "{by_size}");

        let file = spool(&bomb, bounds(u64::MAX, 2000)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2 << 20);
        assert!(
            spool(&bomb[..bomb.len() / 2], bounds(u64::MAX, 2000)).is_err(),
            "it is cut"
        );
    }

    #[test]
    fn other_compressions_are_named() {
        let refused = spool(
            "a.tar.xz",
            &b"\xfd7zXZ\0"[..],
            Path::new("/"),
            Bounds {
                bytes: 1,
                ratio: 1,
                free: 1,
            },
        );
        let message = refused.unwrap_err().to_string();
        assert_eq!(
            message,
            "a.tar.xz: archive: compressed with xz; decompress it first"
        );
    }
}
