//! [`Plain`]: reads content without its compression, within bounds.

use crate::layout::fill;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    rc::Rc,
};

/// Bounds of what compressed content may grow to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) ratio: u64,
    /// Number of bytes up to which the ratio does not count.
    pub(crate) free: u64,
}

/// Compression of content, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    None,
    Gzip,
    Zstd,
    /// Name of a format that is not supported.
    Unsupported(&'static str),
}

impl Detected {
    pub(crate) fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            begin if is_skippable(begin) => Self::Zstd,
            [0xfd, b'7', b'z', b'X', ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', ..] => Self::Unsupported("bzip2"),
            _ => Self::None,
        }
    }
}

/// Returns true for the begin of a frame of zstd that decompresses to nothing. zstd:chunked ends with such frames, and pzstd
/// begins with one.
const fn is_skippable(begin: &[u8]) -> bool {
    matches!(begin, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Reason for which content cannot be read without its compression.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("compressed with {0}; decompress it first")]
    Unsupported(&'static str),
    #[error("more than {0} bytes without compression")]
    Size(u64),
    #[error(
        "it grows to more than {0} times its size without compression; decompress it first if you trust it"
    )]
    Ratio(u64),
}

/// Content without its compression.
pub(crate) struct Plain<'a> {
    reader: Box<dyn Read + 'a>,
    consumed: Rc<Cell<u64>>,
    read: u64,
    bounds: Bounds,
}

impl<'a> Plain<'a> {
    /// Detects the compression by the first bytes.
    pub(crate) fn of(mut reader: impl Read + 'a, bounds: Bounds) -> Result<Self, Problem> {
        let mut begin = [0; 4];
        let read = fill(&mut reader, &mut begin)?;
        let begin = begin.get(..read).unwrap_or_default().to_vec();
        let detected = Detected::of(&begin);
        let consumed = Rc::new(Cell::new(0));
        let counted = Counted {
            reader: io::Cursor::new(begin).chain(reader),
            consumed: Rc::clone(&consumed),
        };
        Ok(Self {
            reader: match detected {
                Detected::None => Box::new(counted),
                Detected::Gzip => Box::new(MultiGzDecoder::new(counted)),
                Detected::Zstd => Box::new(Zstd::new(counted)),
                Detected::Unsupported(name) => return Err(Problem::Unsupported(name)),
            },
            consumed,
            read: 0,
            bounds,
        })
    }

    /// Reads until a buffer is full, or the content ends.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Problem> {
        let read = fill(&mut *self.reader, buffer)?;
        self.read += read as u64;
        let Bounds { bytes, ratio, free } = self.bounds;
        if self.read > bytes {
            return Err(Problem::Size(bytes));
        }
        if self.read > free.max(self.consumed.get().saturating_mul(ratio)) {
            return Err(Problem::Ratio(ratio));
        }
        Ok(read)
    }
}

/// Frame of zstd: its first bytes, and the rest.
type Frame<R> = io::Chain<io::Cursor<Vec<u8>>, BufReader<R>>;

/// Decompresses frames one after the other. The decoder accepts windows of at most 100 MiB, which are in memory.
struct Zstd<R: Read> {
    frame: Option<StreamingDecoder<Frame<R>, FrameDecoder>>,
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
            let ended = self.frame.take().map(|frame| frame.into_inner().into_inner().1);
            let Some(mut rest) = ended.or_else(|| self.rest.take()) else {
                return Ok(0);
            };
            let mut begin = [0; 4];
            let read = fill(&mut rest, &mut begin)?;
            if is_skippable(&begin) {
                skip(&mut rest)?;
                self.rest = Some(rest);
            } else if read > 0 {
                let begin = begin.get(..read).unwrap_or_default().to_vec();
                let frame = io::Cursor::new(begin).chain(rest);
                self.frame = Some(StreamingDecoder::new(frame).map_err(io::Error::other)?);
            }
        }
    }
}

/// Skips the rest of a frame after its first four bytes: its size, and that many bytes.
fn skip(reader: &mut impl Read) -> io::Result<()> {
    let mut size = [0; 4];
    reader.read_exact(&mut size)?;
    let size = u64::from(u32::from_le_bytes(size));
    if io::copy(&mut reader.take(size), &mut io::sink())? < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
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
