//! Recompression of a layer, by blocking calls.

use super::media::Compression;
use crate::{
    layout::PIECE,
    plain::{Bounds, Plain, Problem},
};
use flate2::GzBuilder;
use registry_core::{Algorithm, Digest, hash::Hasher};
use ruzstd::encoding::{CompressionLevel, FrameCompressor};
use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write},
};

/// Level of gzip. It is part of the digests.
const LEVEL: u32 = 6;
/// Bounds of a layer without compression. gzip makes content at most 1032 times smaller.
const BOUNDS: Bounds = Bounds {
    bytes: 256 << 30,
    ratio: 1100,
    free: 64 << 20,
};
/// Bounds of bytes that were compressed here.
const OWN: Bounds = Bounds {
    bytes: u64::MAX,
    ratio: u64::MAX,
    free: u64::MAX,
};

/// A layer with another compression.
#[derive(Debug)]
pub(super) struct Recompressed {
    /// Digest of the bytes without compression.
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) file: File,
}

/// Reason for which a layer cannot be recompressed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Read(#[from] Problem),
    #[error("cannot write a temporary file: {0}")]
    Write(#[source] io::Error),
    #[error("it is not read again as it was written; choose another compression")]
    Differs,
}

/// Reads a layer from its begin, and writes it to `file` with another compression. The algorithms are those of the digests
/// with and without compression.
pub(super) fn recompress(
    mut layer: &File,
    to: Compression,
    file: File,
    [algorithm, plain_algorithm]: [Algorithm; 2],
) -> Result<Recompressed, Failed> {
    layer.rewind().map_err(Problem::Io)?;
    let mut plain = Hashed {
        plain: Plain::of(layer, BOUNDS)?,
        hasher: Hasher::new(plain_algorithm),
        problem: None,
    };
    let mut out = Output {
        file: BufWriter::new(file),
        hasher: Hasher::new(algorithm),
        failed: None,
    };
    match to {
        Compression::None => copy(&mut plain, &mut out),
        Compression::Gzip => {
            let level = flate2::Compression::new(LEVEL);
            let mut encoder = GzBuilder::new().mtime(0).write(&mut out, level);
            copy(&mut plain, &mut encoder);
            encoder.finish().map_err(Failed::Write)?;
        }
        Compression::Zstd => {
            let mut compressor = FrameCompressor::new(CompressionLevel::Fastest);
            compressor.set_source(&mut plain);
            compressor.set_drain(&mut out);
            compressor.compress();
        }
    }
    if let Some(problem) = plain.problem {
        return Err(problem.into());
    }
    let diff_id = digest(plain.hasher);
    let size = out.hasher.offset();
    let (file, digest) = out.finish().map_err(Failed::Write)?;
    verify(&file, &diff_id)?;
    Ok(Recompressed {
        diff_id,
        digest,
        size,
        file,
    })
}

/// Reads a layer that was written. A fault of a compressor must not lose content that is then deleted elsewhere.
fn verify(mut file: &File, diff_id: &Digest) -> Result<(), Failed> {
    file.rewind().map_err(Problem::Io)?;
    let mut hashed = Hashed {
        plain: Plain::of(file, OWN)?,
        hasher: Hasher::new(diff_id.algorithm()),
        problem: None,
    };
    copy(&mut hashed, &mut io::sink());
    match hashed.problem {
        Some(problem) => Err(problem.into()),
        None if digest(hashed.hasher) == *diff_id => Ok(()),
        None => Err(Failed::Differs),
    }
}

fn digest(hasher: Hasher) -> Digest {
    hasher
        .digest()
        .expect("a hasher that began with `new` has its state")
}

/// Copies all bytes. Both sides keep their errors.
fn copy(from: &mut Hashed<'_>, to: &mut dyn Write) {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.piece(&mut piece);
        match piece.get(..read).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) if to.write_all(bytes).is_ok() => {}
            Some(_) | None => return,
        }
    }
}

/// Hashes what is read. It ends at a problem, which it keeps: the compressor of zstd accepts no errors.
struct Hashed<'a> {
    plain: Plain<'a>,
    hasher: Hasher,
    problem: Option<Problem>,
}

impl Hashed<'_> {
    fn piece(&mut self, buffer: &mut [u8]) -> usize {
        if self.problem.is_some() {
            return 0;
        }
        match self.plain.fill(buffer) {
            Ok(read) => {
                self.hasher.update(buffer.get(..read).unwrap_or_default());
                read
            }
            Err(problem) => {
                self.problem = Some(problem);
                0
            }
        }
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.piece(buffer))
    }
}

/// Hashes what is written. It keeps its error, and ignores what follows.
struct Output {
    file: BufWriter<File>,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl Output {
    fn finish(self) -> io::Result<(File, Digest)> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, digest(self.hasher)))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
            self.hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
