//! Pipes and compressed archives, written to an unnamed file within bounds.

use crate::{
    error::Error,
    layout::{PIECE, fill},
};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
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
    Zstd,
    /// Name of a format that is not supported.
    Unsupported(&'static str),
}

impl Compression {
    pub(super) fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
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
        Compression::Zstd => Box::new(Zstd::new(counted)),
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

/// Decompresses frames one after the other. The decoder accepts windows of at most 100 MiB, which are in memory.
struct Zstd<R: Read> {
    frame: Option<StreamingDecoder<BufReader<R>, FrameDecoder>>,
    /// The reader before the first frame.
    rest: Option<BufReader<R>>,
}

impl<R: Read> Zstd<R> {
    fn new(reader: R) -> Self {
        Self {
            frame: None,
            rest: Some(BufReader::new(reader)),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            let ended = self.frame.take().map(StreamingDecoder::into_inner);
            let Some(mut rest) = ended.or_else(|| self.rest.take()) else {
                return Ok(0);
            };
            if !rest.fill_buf()?.is_empty() {
                let frame = StreamingDecoder::new(rest).map_err(io::Error::other)?;
                self.frame = Some(frame);
            }
        }
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
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Seek as _;

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
    fn each_frame_of_zstd_counts_and_a_cut_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            bytes: 1 << 20,
            ratio: 10,
            free: 1 << 16,
        };
        let frame = |content: &[u8]| compress_to_vec(content, CompressionLevel::Fastest);
        let spool = |bytes: &[u8]| spool("a.tar.zst", bytes, directory.path(), bounds);
        let frames = [frame(b"one frame, "), frame(b"another frame")].concat();

        let mut file = spool(&frames).unwrap();
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "one frame, another frame");

        assert!(spool(&frames[..frames.len() - 3]).is_err(), "it is cut");
        assert!(
            spool(&[&*frames, b"and more"].concat()).is_err(),
            "it is not a frame"
        );
        let bomb = spool(&frame(&[0; 1 << 17])).unwrap_err().to_string();
        assert!(bomb.contains("10 times"), "{bomb}");
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
