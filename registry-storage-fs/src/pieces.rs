//! Sizes and writes of the pieces in which an upload is received.
//!
//! Each piece passes from the receiving thread to one that may block, and back. Large pieces cost fewer such passes,
//! and the system's buffer fills meanwhile, so that each read takes more. The memory of all uploads together is
//! bounded, so pieces are smaller when more uploads run.

use bytes::Bytes;
use rustix::io::Errno;
use std::{
    fs::File,
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Size of a piece that every upload may have, in bytes. An upload holds two: one that is written, and one that
/// arrives.
const LEAST: usize = 256 << 10;
/// Size of a piece while few uploads run, in bytes.
pub(crate) const MOST: usize = 4 << 20;
/// Maximum memory that the pieces of all uploads take beyond [`LEAST`] each, in bytes.
const EXTRA: usize = 8 << 20;

/// The uploads that are being received.
#[derive(Debug, Default)]
pub(crate) struct Receiving(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    uploads: usize,
    /// Bytes of [`EXTRA`] that the uploads have.
    taken: usize,
}

/// Share of one upload in the memory for pieces.
#[derive(Debug)]
pub(crate) struct Share {
    receiving: Arc<Receiving>,
    /// Bytes of [`EXTRA`] that this upload has.
    extra: usize,
}

impl Receiving {
    /// Adds an upload, until the share is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Share {
        self.state().uploads += 1;
        Share {
            receiving: Arc::clone(self),
            extra: 0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Returns the maximum size of the next piece, in bytes.
    pub(crate) fn piece(&mut self) -> usize {
        let mut state = self.receiving.state();
        state.taken -= self.extra;
        // In steps of whole pages.
        let fair = EXTRA / state.uploads.max(1) / LEAST * LEAST;
        self.extra = fair.min(MOST - LEAST).min(EXTRA - state.taken);
        state.taken += self.extra;
        LEAST + self.extra
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.receiving.state();
        state.uploads -= 1;
        state.taken -= self.extra;
    }
}

/// Calls that write end at multiples of this number of bytes in the file.
///
/// Writing whole pages is cheaper than parts. Newer systems also allocate page cache in units as large as the write.
/// Units up to this size are available at once; larger ones have to be searched for, or memory freed for them (Linux
/// 6.18 with ext4: 0.2 s of CPU time for a GiB, but 0.6 to 1 s in writes of 256 KiB).
const WRITTEN_AT_ONCE: u64 = 32 << 10;
/// Maximum number of chunks per call, which is the system's own limit.
const CHUNKS_AT_ONCE: usize = 1024;

/// Writes chunks one after the other.
pub(crate) fn write_all_at(file: &File, chunks: &[Bytes], mut at: u64) -> io::Result<()> {
    let mut chunks = chunks.iter();
    let mut rest: &[u8] = &[];
    loop {
        let end = (at / WRITTEN_AT_ONCE + 1) * WRITTEN_AT_ONCE;
        let mut left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut slices = Vec::new();
        while left > 0 && slices.len() < CHUNKS_AT_ONCE {
            if rest.is_empty() {
                let Some(next) = chunks.next() else { break };
                rest = next;
            }
            let (now, later) = rest.split_at(rest.len().min(left));
            slices.push(IoSlice::new(now));
            left -= now.len();
            rest = later;
        }
        if slices.is_empty() {
            return Ok(());
        }
        at += write_all_vectored_at(file, &mut slices, at)?;
    }
}

/// Writes all slices and returns their total length.
fn write_all_vectored_at(file: &File, mut slices: &mut [IoSlice<'_>], at: u64) -> io::Result<u64> {
    let mut length = 0;
    // Leading empty slices would look like a disk that accepts no bytes.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, at + length) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                length += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn pieces_are_the_smaller_the_more_uploads_run_and_grow_again() {
        let receiving: Arc<Receiving> = Arc::default();
        let mut first = receiving.begin();
        assert_eq!(first.piece(), MOST);
        let mut others: Vec<_> = (0..100).map(|_| receiving.begin()).collect();
        let taken: usize = others.iter_mut().map(|share| share.piece() - LEAST).sum();
        assert!(taken + MOST - LEAST <= EXTRA, "all of them, and the first");
        assert_eq!(first.piece(), LEAST, "of a hundred nobody gets more");
        others.truncate(7);
        for share in &mut others {
            assert_eq!(share.piece(), LEAST + EXTRA / 8);
        }
        drop(others);
        assert_eq!(first.piece(), MOST);
    }

    #[test]
    fn chunks_of_all_sizes_arrive_in_their_order_wherever_they_begin() {
        let sizes = [0, 1, 70_000, 0, 65_536, 3, 300_000, 0];
        let chunks: Vec<_> = (1_u8..)
            .zip(sizes)
            .map(|(seed, size)| Bytes::from(vec![seed; size]))
            .collect();
        let many: Vec<_> = (0..5000_u32)
            .map(|n| Bytes::from(n.to_be_bytes().to_vec()))
            .collect();
        for chunks in [chunks, many, vec![Bytes::new()], vec![]] {
            for begin in [0, 1, 65_535, 65_536, 1_000_000] {
                let file = tempfile::tempfile().unwrap();

                write_all_at(&file, &chunks, begin).unwrap();

                let expected = chunks.concat();
                let mut written = vec![0; expected.len()];
                file.read_exact_at(&mut written, begin).unwrap();
                assert!(written == expected, "from {begin}");
                let end = if expected.is_empty() {
                    0
                } else {
                    begin + expected.len() as u64
                };
                assert_eq!(file.metadata().unwrap().len(), end);
            }
        }
    }
}
