//! Pipes and compressed archives, written to an unnamed file within bounds.

use crate::{
    error::Error,
    layout::PIECE,
    plain::{Bounds, Plain, Problem},
};
use std::{
    fs::File,
    io::{Read, Write as _},
    path::Path,
};

/// Writes an archive to an unnamed file in `directory`, without its compression.
pub(super) fn spool(place: &str, reader: impl Read, directory: &Path, bounds: Bounds) -> Result<File, Error> {
    let refused = |problem| match problem {
        Problem::Io(error) => Error::io("read", place)(error),
        problem @ Problem::Size(_) => {
            let reason = format!("{problem}; raise the limit if you trust it");
            Error::layout(place, "archive", reason)
        }
        problem => Error::layout(place, "archive", problem.to_string()),
    };
    let mut plain = Plain::of(reader, bounds).map_err(refused)?;
    let mut file =
        tempfile::tempfile_in(directory).map_err(Error::io("create a file in", directory.display()))?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = plain.fill(&mut piece).map_err(refused)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(file);
        };
        file.write_all(bytes)
            .map_err(Error::io("write a file in", directory.display()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::{self, Seek as _};

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
