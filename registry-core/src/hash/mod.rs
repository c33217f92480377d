//! [`Hasher`], a running hash that is an owned value, and [`Checkpoint`], its state as bytes.
//!
//! A hasher moves into the thread that writes the bytes, and back. Its checkpoint has the layout of Go's
//! `MarshalBinary` for `crypto/sha256` and `crypto/sha512`, which registry:2 stores in `hashstates/`: four
//! bytes of magic, eight state words, one block of pending bytes, and the number of hashed bytes. All words
//! are big-endian. A checkpoint has 108 bytes for sha256 and 204 for sha512.

use crate::digest::{Algorithm, Digest};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};
use std::fmt;

impl Digest {
    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

/// State of a hash over the first [`offset`](Self::offset) bytes of some content. Only bytes that
/// [`Checkpoint::parse`] accepts become a checkpoint, so that a truncated or foreign record is detected
/// before it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    algorithm: Algorithm,
    offset: u64,
    bytes: Bytes,
}

impl Checkpoint {
    /// Returns the state before the first byte. A new upload stores its announced algorithm in this form.
    #[must_use]
    pub fn start(algorithm: Algorithm) -> Self {
        Hasher::new(algorithm)
            .checkpoint()
            .expect("a hasher that began with `new` has its state")
    }

    /// Parses a stored checkpoint. Returns `None` if the bytes are not a checkpoint of `algorithm`, or if its
    /// number of hashed bytes is implausible.
    ///
    /// The caller has to make sure that the hashed bytes still exist.
    #[must_use]
    pub fn parse(algorithm: Algorithm, bytes: Bytes) -> Option<Self> {
        let offset = State::decode(algorithm, &bytes)?.1;
        Some(Self {
            algorithm,
            offset,
            bytes,
        })
    }

    /// Returns its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the number of hashed bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the record to store: 108 bytes for sha256, 204 for sha512.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({} over {} bytes)", self.algorithm, self.offset)
    }
}

/// Running hash. It counts the bytes, even if the state of earlier bytes is lost. In that case it has no
/// digest.
#[derive(Clone)]
pub struct Hasher {
    offset: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
    /// The state of earlier bytes is lost, so there is no digest.
    Lost,
}

impl Hasher {
    /// Creates a hasher before the first byte.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { offset: 0, state }
    }

    /// Continues from a checkpoint.
    #[must_use]
    pub fn resume(checkpoint: &Checkpoint) -> Self {
        match State::decode(checkpoint.algorithm, &checkpoint.bytes) {
            Some((state, offset)) => Self { offset, state },
            None => Self::lost(checkpoint.offset),
        }
    }

    /// Continues to count from `offset` without a state. Earlier bytes have to be read again to be hashed.
    pub(crate) const fn lost(offset: u64) -> Self {
        Self {
            offset,
            state: State::Lost,
        }
    }

    /// Adds bytes. It needs about one second of CPU time per gigabyte: call it on the thread that writes, not
    /// on the reactor.
    pub fn update(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Lost => {}
        }
    }

    /// Returns the number of counted bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the algorithm, or `None` if it only counts.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self.state {
            State::Sha256(_) => Some(Algorithm::Sha256),
            State::Sha512(_) => Some(Algorithm::Sha512),
            State::Lost => None,
        }
    }

    /// Returns the state to store beside the bytes, or `None` if it only counts.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let (algorithm, bytes) = match &self.state {
            State::Sha256(state) => (Algorithm::Sha256, encode::<_, 4>(b"sha\x03", state, self.offset)),
            State::Sha512(state) => (Algorithm::Sha512, encode::<_, 8>(b"sha\x07", state, self.offset)),
            State::Lost => return None,
        };
        Some(Checkpoint {
            algorithm,
            offset: self.offset,
            bytes,
        })
    }

    /// Returns the digest of all bytes, or `None` if it only counts. Only
    /// [`Verified`](crate::storage::Verified) is a proof of a digest.
    #[must_use]
    pub fn digest(self) -> Option<Digest> {
        match self.state {
            State::Sha256(state) => Some(Digest::from_hash(Algorithm::Sha256, &state.finalize())),
            State::Sha512(state) => Some(Digest::from_hash(Algorithm::Sha512, &state.finalize())),
            State::Lost => None,
        }
    }

    /// Returns the digest of all bytes, for a hasher that began with [`Hasher::new`].
    pub(crate) fn finish(self) -> Digest {
        self.digest()
            .expect("a hasher that began with `new` has its state")
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({:?} at {})", self.algorithm(), self.offset)
    }
}

impl State {
    fn decode(algorithm: Algorithm, bytes: &[u8]) -> Option<(Self, u64)> {
        match algorithm {
            Algorithm::Sha256 => {
                let (state, offset) = decode::<Sha256, 4>(b"sha\x03", bytes)?;
                Some((Self::Sha256(state), offset))
            }
            Algorithm::Sha512 => {
                let (state, offset) = decode::<Sha512, 8>(b"sha\x07", bytes)?;
                Some((Self::Sha512(state), offset))
            }
        }
    }
}

/// Converts sha2's layout to Go's. sha2 has eight little-endian words of `WORD` bytes, the number of whole
/// blocks in `2 * WORD` bytes, and a buffer of one block. The first byte of the buffer is the number of
/// pending bytes.
fn encode<H: SerializableState, const WORD: usize>(magic: &[u8; 4], state: &H, offset: u64) -> Bytes {
    let serialized = state.serialize();
    let mut from = serialized.as_slice();
    let mut to = BytesMut::with_capacity(4 + 8 * WORD + 16 * WORD + 8);
    to.put_slice(magic);
    for _ in 0..8 {
        let mut word = from.split_to_array::<WORD>();
        word.reverse();
        to.put_slice(&word);
    }
    from.advance(2 * WORD + 1);
    let block = 16 * WORD as u64;
    let pending = usize::try_from(offset % block).unwrap_or(0);
    to.put_slice(from.get(..pending).unwrap_or_default());
    to.put_bytes(0, 16 * WORD - pending);
    to.put_u64(offset);
    to.freeze()
}

/// Maximum number of hashed bytes in a valid record: an exbibyte, more than any disk has. sha256 counts bits
/// in 64 bits and would overflow soon after.
const LONGEST: u64 = 1 << 60;

/// Converts Go's layout to sha2's. Returns `None` unless length and magic are right and the number of bytes
/// is possible.
fn decode<H: SerializableState, const WORD: usize>(magic: &[u8; 4], bytes: &[u8]) -> Option<(H, u64)> {
    let mut from = bytes.strip_prefix(magic)?;
    if from.len() != 8 * WORD + 16 * WORD + 8 {
        return None;
    }
    let offset = u64::from_be_bytes(*from.last_chunk()?);
    if offset > LONGEST {
        return None;
    }
    let block = 16 * WORD as u64;
    let pending = usize::try_from(offset % block).ok()?;
    let mut to = BytesMut::new();
    for _ in 0..8 {
        let mut word = from.split_to_array::<WORD>();
        word.reverse();
        to.put_slice(&word);
    }
    to.put_slice(&(offset / block).to_le_bytes());
    to.put_bytes(0, 2 * WORD - 8);
    to.put_u8(u8::try_from(pending).ok()?);
    to.put_slice(from.get(..pending)?);
    to.put_bytes(0, 16 * WORD - 1 - pending);
    let serialized = SerializedState::<H>::try_from(to.as_ref()).ok()?;
    Some((H::deserialize(&serialized).ok()?, offset))
}

trait SplitToArray {
    fn split_to_array<const N: usize>(&mut self) -> [u8; N];
}

impl SplitToArray for &[u8] {
    fn split_to_array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        self.copy_to_slice(&mut array);
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[test]
    fn a_hash_goes_on_from_its_checkpoint_at_every_offset() {
        let bytes = sequence(300);
        for algorithm in Algorithm::ALL {
            let whole = Digest::of(algorithm, &bytes);
            for cut in 0..bytes.len() {
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..cut]);
                let stored = first.checkpoint().unwrap().as_bytes().clone();

                let checkpoint = Checkpoint::parse(algorithm, stored).unwrap();
                let mut second = Hasher::resume(&checkpoint);
                second.update(&bytes[cut..]);

                assert_eq!(checkpoint.offset(), cut as u64);
                assert_eq!(second.finish(), whole, "{algorithm} cut at {cut}");
            }
        }
    }

    /// Checkpoints made by Go 1.26: `h.Write(sequence); h.(encoding.BinaryMarshaler).MarshalBinary()`, over
    /// 100 and 200 bytes.
    #[test]
    fn the_layout_is_that_of_go() {
        for (algorithm, length, words, pending) in [
            (
                Algorithm::Sha256,
                100,
                "73686103fc99a2df88f42a7a7bb9d18033cdc6a20256755f9d5b9a5044a9cc315abe84a7",
                64..100,
            ),
            (
                Algorithm::Sha512,
                200,
                "736861078e03953cd57cd6879321270afa70c5827bb5b69be59a8f0130147e94f2aedf7bdc01c56c92343ca8bd837bb7f0208f5a23e155694516b6f147099d491a30b151",
                128..200,
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&sequence(length));

            let stored = hasher.checkpoint().unwrap();

            let head = words.len() / 2;
            let hex: String = stored.as_bytes()[..head]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(hex, words);
            assert_eq!(
                stored.as_bytes()[head..head + pending.len()],
                sequence(length)[pending]
            );
            assert_eq!(*stored.as_bytes().last().unwrap() as usize, length);
        }
    }

    #[test]
    fn truncated_and_foreign_records_are_not_checkpoints() {
        let good = Checkpoint::start(Algorithm::Sha256).as_bytes().clone();
        assert_eq!(good.len(), 108);
        assert_eq!(Checkpoint::start(Algorithm::Sha512).as_bytes().len(), 204);
        assert!(Checkpoint::parse(Algorithm::Sha256, good.slice(..107)).is_none());
        assert!(Checkpoint::parse(Algorithm::Sha512, good).is_none());
        assert!(Checkpoint::parse(Algorithm::Sha256, Bytes::new()).is_none());
        assert!(Checkpoint::parse(Algorithm::Sha256, Bytes::from(vec![0; 108])).is_none());
    }

    #[test]
    fn a_record_of_more_than_can_be_hashed_is_not_a_checkpoint() {
        let record = |algorithm: Algorithm, offset: u64| {
            let start = Checkpoint::start(algorithm).as_bytes().clone();
            let (head, _) = start.split_at(start.len() - 8);
            Bytes::from([head, &offset.to_be_bytes()].concat())
        };
        for algorithm in Algorithm::ALL {
            let most = Checkpoint::parse(algorithm, record(algorithm, LONGEST)).unwrap();
            let mut hasher = Hasher::resume(&most);
            hasher.update(b"more");
            assert!(hasher.digest().is_some());
            for more in [LONGEST + 1, 1 << 61, u64::MAX] {
                assert!(Checkpoint::parse(algorithm, record(algorithm, more)).is_none());
            }
        }
    }

    #[test]
    fn a_hasher_that_lost_its_state_counts_and_proves_nothing() {
        let mut hasher = Hasher::lost(7);
        hasher.update(b"abc");
        assert_eq!(hasher.offset(), 10);
        assert!(hasher.checkpoint().is_none());
        assert!(hasher.digest().is_none());
    }
}
