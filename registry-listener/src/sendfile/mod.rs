//! Sends blobs from the page cache directly to the socket, by `sendfile(2)`.
//!
//! hyper frames an answer, and does not support files. The body of such an answer ([`FileAnswer`]) therefore consists
//! of stand-ins: frames that are parts of one region of memory, which is never read or written. hyper queues them and
//! passes them to the socket like any other bytes, without a copy. There [`Outlet`] recognizes them by their address,
//! and has the system send the bytes of the file instead. A layer that counts frames, for metrics or a log, counts
//! correctly.
//!
//! A layer that reads the bytes does not see the blob. The host has to promise that there is no such layer
//! (`Server::sendfile`), and the promise is checked. The stand-ins of a connection have a fixed order and addresses. If
//! other bytes appear between the registry and hyper, or between hyper and the socket, the connection is cut. A layer that
//! changes bodies makes pulls fail, but never delivers wrong bytes.
//!
//! | streamed as usual | reason |
//! |---|---|
//! | TLS, HTTP/2, sockets that are not TCP | their bytes are not the body's |
//! | fewer than [`LEAST`] bytes | it is cheaper to copy them into one write with the head |
//! | files on systems that cannot report cached bytes (`RWF_NOWAIT`) | every system call might wait for a disk |
//!
//! A call sends a segment for the bytes that it has, however few. The connection is therefore corked (`TCP_CORK`) from
//! the head of such an answer to the end of its body. All segments are then full but the last one, which is sent when
//! the cork is removed.
//!
//! `sendfile` waits for the disk if the file is not in memory, and the calling thread serves other connections too.
//! Both ends of the next range are therefore probed before every call, and missing bytes are read by a thread that may
//! wait. If a page is evicted between the probe and the call, the connection's thread waits for one read.

mod answer;
mod outlet;
mod system;

pub(super) use self::{answer::sender, outlet::Outlet};

use bytes::Bytes;
use registry_core::storage::FileRange;
use std::{
    collections::VecDeque,
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Minimum size of a file that is sent this way.
const LEAST: u64 = 64 << 10;
/// Maximum number of bytes that one frame stands for, and that one system call sends.
const PIECE: usize = 512 << 10;

/// The region that contains all stand-ins. It is never read or written, so it takes addresses but no memory.
static REGION: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; 2 * PIECE]));

/// Returns the position of some bytes in the region.
fn position(bytes: &[u8]) -> Option<usize> {
    let begin = REGION.as_ptr().addr();
    let position = bytes.as_ptr().addr().checked_sub(begin)?;
    (position < REGION.len() && !bytes.is_empty()).then_some(position)
}

/// Returns true if bytes of a body are stand-ins for bytes of a file.
pub(super) fn are_stand_ins(bytes: &[u8]) -> bool {
    position(bytes).is_some()
}

/// Returns stand-ins, for tests of what passes them on.
#[cfg(test)]
pub(super) fn stand_ins(length: usize) -> Bytes {
    REGION.slice(..length)
}

/// The parts of files to be sent on a connection, in order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
}

/// State of the stand-ins of a connection. They are numbered, and lie in the region in this order, over and over
/// again. No more may be on their way to hyper than fit into the region: otherwise one could be taken for another.
#[derive(Debug, Default)]
struct State {
    /// Number of stand-ins that bodies have produced.
    given: u64,
    /// Number of stand-ins that have reached hyper.
    passed: u64,
    /// Number of stand-ins whose bytes were sent.
    sent: u64,
    /// Parts of files whose stand-ins are not sent yet.
    pieces: VecDeque<FileRange>,
    /// True if the body that gave the last stand-ins has more to give.
    unfinished: bool,
}

impl Outgoing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns stand-ins for the beginning of `rest`, which is shortened accordingly.
    fn give(&self, rest: &mut FileRange) -> Bytes {
        let mut state = self.state();
        let begin = number_in_region(state.given);
        let left = usize::try_from(rest.range.end - rest.range.start).unwrap_or(PIECE);
        let length = left.min(PIECE).min(REGION.len() - begin);
        state.given += length as u64;
        let mut piece = rest.clone();
        piece.range.end = piece.range.start + length as u64;
        rest.range.start = piece.range.end;
        state.unfinished = !rest.range.is_empty();
        state.pieces.push_back(piece);
        REGION.slice(begin..begin + length)
    }

    /// Records that the body that gave the last stand-ins gives no more.
    fn finished(&self) {
        self.state().unfinished = false;
    }

    /// Returns true if no body is in progress: everything given has been sent, and nothing follows.
    fn is_complete(&self) -> bool {
        let state = self.state();
        !state.unfinished && state.pieces.is_empty()
    }

    /// Checks bytes of a body that are about to reach hyper. Returns false if they are not the registry's.
    pub(super) fn pass(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        match position(bytes) {
            None => state.passed == state.given || bytes.is_empty(),
            Some(position) => {
                let underway = state.given - state.passed;
                let expected = position == number_in_region(state.passed)
                    && (bytes.len() as u64..=REGION.len() as u64).contains(&underway);
                state.passed += bytes.len() as u64;
                expected
            }
        }
    }

    /// Returns the part of a file for the stand-ins that are to be sent next.
    fn next(&self, position: usize, length: usize) -> io::Result<FileRange> {
        let state = self.state();
        let piece = state
            .pieces
            .front()
            .filter(|_| position == number_in_region(state.sent));
        let mut piece = piece
            .cloned()
            .ok_or_else(|| io::Error::other("stand-ins for a file are out of order"))?;
        piece.range.end = piece.range.end.min(piece.range.start + length as u64);
        Ok(piece)
    }

    /// Records that this number of bytes of that part has been sent.
    fn sent(&self, count: usize) {
        let mut state = self.state();
        state.sent += count as u64;
        if let Some(piece) = state.pieces.front_mut() {
            piece.range.start += count as u64;
            if piece.range.is_empty() {
                state.pieces.pop_front();
            }
        }
    }
}

fn number_in_region(number: u64) -> usize {
    let length = REGION.len() as u64;
    usize::try_from(number % length).expect("an index of memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn file(length: u64) -> FileRange {
        FileRange::new(Arc::new(tempfile::tempfile().unwrap()), 0..length)
    }

    /// Checks when a partial segment may be sent.
    #[test]
    fn a_body_is_complete_when_its_last_byte_has_been_sent_or_it_gives_no_more() {
        let outgoing = Outgoing::default();
        assert!(outgoing.is_complete());
        let mut rest = file(PIECE as u64 + 5);
        let first = outgoing.give(&mut rest);
        outgoing.sent(first.len());
        assert!(!outgoing.is_complete(), "there is more to give");
        let last = outgoing.give(&mut rest);
        outgoing.sent(last.len() - 1);
        assert!(!outgoing.is_complete(), "one byte is not sent");
        outgoing.sent(1);
        assert!(outgoing.is_complete());

        let mut rest = file(PIECE as u64 + 5);
        let given = outgoing.give(&mut rest);
        outgoing.finished();
        assert!(!outgoing.is_complete());
        outgoing.sent(given.len());
        assert!(outgoing.is_complete());
    }

    #[test]
    fn stand_ins_map_to_positions_in_files_also_when_the_region_is_reused() {
        let outgoing = Outgoing::default();
        let lengths = [3 * PIECE as u64 + 5, PIECE as u64, 7];
        for length in lengths {
            let mut rest = file(length);
            let mut sent = 0;
            while !rest.range.is_empty() {
                let bytes = outgoing.give(&mut rest);
                assert!(outgoing.pass(&bytes));
                // In two parts, as a socket may take them.
                for part in [
                    &bytes[..bytes.len().div_ceil(2)],
                    &bytes[bytes.len().div_ceil(2)..],
                ] {
                    let Some(position) = position(part) else {
                        assert!(part.is_empty());
                        continue;
                    };
                    let piece = outgoing.next(position, part.len()).unwrap();
                    assert_eq!(piece.range, sent..sent + part.len() as u64);
                    outgoing.sent(part.len());
                    sent = piece.range.end;
                }
            }
            assert_eq!(sent, length);
        }
        assert!(outgoing.state().pieces.is_empty(), "files are released");
    }

    #[test]
    fn bytes_other_than_the_given_ones_do_not_pass() {
        type Layer = fn(Bytes, Bytes) -> Vec<Bytes>;
        let cases: [(&str, Layer, bool); 7] = [
            ("as given", |a, b| vec![a, b], true),
            ("in parts", |a, b| vec![a.slice(..9), a.slice(9..), b], true),
            ("copied", |a, _| vec![Bytes::copy_from_slice(&a)], false),
            (
                "with something before",
                |a, _| vec![Bytes::from_static(b"x"), a],
                false,
            ),
            ("beginning later", |a, _| vec![a.slice(1..)], false),
            ("the second first", |_, b| vec![b], false),
            ("more often than given", |a, b| vec![a.clone(), b, a], false),
        ];
        for (name, layer, passes) in cases {
            let outgoing = Outgoing::default();
            let mut rest = file(PIECE as u64 + 20);
            let frames = layer(outgoing.give(&mut rest), outgoing.give(&mut rest));
            assert_eq!(frames.iter().all(|frame| outgoing.pass(frame)), passes, "{name}");
        }
        let outgoing = Outgoing::default();
        let mut rest = file(3 * PIECE as u64);
        let third = [(); 3]
            .map(|()| outgoing.give(&mut rest))
            .into_iter()
            .last()
            .unwrap();
        assert!(!outgoing.pass(&third), "a whole region is missing before it");
        let outgoing = Outgoing::default();
        assert!(outgoing.pass(b"without a file, any bytes pass"));
    }

    #[test]
    fn nothing_is_sent_for_stand_ins_out_of_order_or_without_a_file() {
        let outgoing = Outgoing::default();
        let bytes = outgoing.give(&mut file(10));
        assert!(outgoing.next(1, 5).is_err());
        assert!(outgoing.next(0, bytes.len()).is_ok());
        outgoing.sent(10);
        assert!(outgoing.next(10, 1).is_err());
    }
}
