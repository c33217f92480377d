//! Reading a file past the page cache, in order to check it.
//!
//! Direct reads (`O_DIRECT`) give what is on the disk, and leave the page cache as it is. A file system without them is
//! read through the page cache. Each piece is dropped from it afterwards, also if it was there before: to tell the two
//! apart, a mapping of the file is needed, and reads that do not wait start to read ahead.

use registry_core::hash::Hasher;
use rustix::{
    fs::{Advice, Mode, OFlags, fadvise},
    io::Errno,
};
use std::{
    fs::File,
    io,
    num::NonZeroU64,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

/// Number of bytes read at once, and dropped from the page cache together.
const PIECE: usize = 1 << 20;
/// Alignment that direct reads need, on any device.
const ALIGNMENT: usize = 4096;

/// Feeds the bytes on the disk to a hasher. `file` is open at `path`.
pub(super) fn hash_from_disk(path: &Path, file: &File, mut hasher: Hasher) -> io::Result<Hasher> {
    if let Some(direct) = open_direct(path, file)? {
        let mut hasher = hasher.clone();
        match hash_direct(&direct, &mut hasher) {
            // The file can be opened for direct reads, and not read.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
            hashed => return hashed.map(|()| hasher),
        }
    }
    hash_and_drop(file, &mut hasher)?;
    Ok(hasher)
}

/// Drops a file from the page cache, so that readers get what is on the disk.
pub(super) fn drop_cached(file: &File) {
    // Only pages that are on the disk can be dropped. Best effort: a failure shows when the file is read.
    let _ = file.sync_data();
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Opens the same file for direct reads; `None` if the file system has none, or another file is there now.
fn open_direct(path: &Path, file: &File) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::DIRECT;
    let Ok(direct) = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) else {
        return Ok(None);
    };
    let direct = File::from(direct);
    let (one, other) = (file.metadata()?, direct.metadata()?);
    Ok(((one.dev(), one.ino()) == (other.dev(), other.ino())).then_some(direct))
}

fn hash_direct(direct: &File, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0u8; PIECE + ALIGNMENT];
    let skipped = buffer.as_ptr().align_offset(ALIGNMENT);
    let Some(aligned) = buffer.get_mut(skipped..skipped + PIECE) else {
        return Err(Errno::INVAL.into());
    };
    let mut offset = 0;
    loop {
        let length = read_at(direct, aligned, offset)?;
        hasher.update(aligned.get(..length).unwrap_or_default());
        offset += length as u64;
        // A direct read is short at the end of the file only, and cannot continue at an odd offset.
        if length < PIECE {
            return Ok(());
        }
    }
}

fn hash_and_drop(file: &File, hasher: &mut Hasher) -> io::Result<()> {
    // What was cached before is not what is on the disk, if the memory is at fault.
    drop_cached(file);
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let length = read_at(file, &mut buffer, offset)?;
        if length == 0 {
            return Ok(());
        }
        hasher.update(buffer.get(..length).unwrap_or_default());
        let _ = fadvise(file, offset, NonZeroU64::new(length as u64), Advice::DontNeed);
        offset += length as u64;
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::content;
    use registry_core::{Algorithm, Digest};
    use std::fs;

    #[test]
    fn every_size_is_hashed_whole_directly_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for size in [0, 1, 4095, 4096, 4097, PIECE, PIECE + 1, 3_000_000] {
            let bytes = content(size);
            fs::write(&path, &bytes).unwrap();
            let expected = Some(Digest::of(Algorithm::Sha256, &bytes));
            let file = File::open(&path).unwrap();
            let new = || Hasher::new(Algorithm::Sha256);

            let hashed = hash_from_disk(&path, &file, new()).unwrap();
            assert_eq!(hashed.digest(), expected, "{size}");

            let mut hasher = new();
            hash_and_drop(&file, &mut hasher).unwrap();
            assert_eq!(hasher.digest(), expected, "{size}, not directly");
        }
    }
}
