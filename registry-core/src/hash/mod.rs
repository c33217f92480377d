//! [`Hasher`], a running hash that is an owned value, and [`Checkpoint`], its state as bytes.
//!
//! A hasher moves into the thread that writes the bytes, and back. Its checkpoint has the layout of Go's
//! `MarshalBinary` for `crypto/sha256` and `crypto/sha512`, which registry:2 stores in `hashstates/`: four
//! bytes of magic, eight state words, one block of pending bytes, and the number of hashed bytes. All words
//! are big-endian. A checkpoint has 108 bytes for sha256 and 204 for sha512.

mod sha2_state;

use self::sha2_state::{Sha256State, Sha512State};
use crate::digest::{Algorithm, Digest};
use bytes::Bytes;
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
///
/// ```
/// use registry_core::{Algorithm, Digest, hash::{Checkpoint, Hasher}};
///
/// let mut hasher = Hasher::new(Algorithm::Sha256);
/// hasher.update(b"first ");
/// let stored = hasher.checkpoint().unwrap().as_bytes().clone();
///
/// // After a restart, the hash continues where it was stored.
/// let checkpoint = Checkpoint::parse(Algorithm::Sha256, stored).unwrap();
/// assert_eq!(checkpoint.offset(), 6);
/// let mut hasher = Hasher::resume(&checkpoint);
/// hasher.update(b"second");
/// assert_eq!(hasher.digest(), Some(Digest::of(Algorithm::Sha256, b"first second")));
/// ```
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
        let offset = State::decode(algorithm, &bytes)?.offset();
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
///
/// ```
/// use registry_core::{Algorithm, Digest, hash::Hasher};
///
/// let mut hasher = Hasher::new(Algorithm::Sha512);
/// for chunk in ["lay", "er"] {
///     hasher.update(chunk.as_bytes());
/// }
/// assert_eq!(hasher.offset(), 5);
/// assert_eq!(hasher.digest(), Some(Digest::of(Algorithm::Sha512, b"layer")));
/// ```
#[derive(Clone)]
pub struct Hasher {
    state: State,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256State),
    Sha512(Sha512State),
    /// The state of the earlier bytes is lost, so there is no digest. Only their number is known.
    Lost(u64),
}

impl Hasher {
    /// Creates a hasher before the first byte.
    #[must_use]
    pub const fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256State::new()),
            Algorithm::Sha512 => State::Sha512(Sha512State::new()),
        };
        Self { state }
    }

    /// Continues from a checkpoint.
    #[must_use]
    pub fn resume(checkpoint: &Checkpoint) -> Self {
        State::decode(checkpoint.algorithm, &checkpoint.bytes)
            .map_or_else(|| Self::lost(checkpoint.offset), |state| Self { state })
    }

    /// Continues to count from `offset` without a state. Earlier bytes have to be read again to be hashed.
    pub(crate) const fn lost(offset: u64) -> Self {
        Self {
            state: State::Lost(offset),
        }
    }

    /// Adds bytes. It needs about one second of CPU time per gigabyte: call it on the thread that writes, not
    /// on the reactor.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Lost(offset) => *offset += bytes.len() as u64,
        }
    }

    /// Returns the number of counted bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.state.offset()
    }

    /// Returns the algorithm, or `None` if it only counts.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self.state {
            State::Sha256(_) => Some(Algorithm::Sha256),
            State::Sha512(_) => Some(Algorithm::Sha512),
            State::Lost(_) => None,
        }
    }

    /// Returns the state to store beside the bytes, or `None` if it only counts.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let (algorithm, bytes) = match &self.state {
            State::Sha256(state) => (Algorithm::Sha256, state.encode()),
            State::Sha512(state) => (Algorithm::Sha512, state.encode()),
            State::Lost(_) => return None,
        };
        Some(Checkpoint {
            algorithm,
            offset: self.offset(),
            bytes,
        })
    }

    /// Returns the digest of all bytes, or `None` if it only counts. Only
    /// [`Verified`](crate::storage::Verified) is a proof of a digest.
    #[must_use]
    pub fn digest(self) -> Option<Digest> {
        match self.state {
            State::Sha256(state) => Some(Digest::from_hash(Algorithm::Sha256, &state.finish())),
            State::Sha512(state) => Some(Digest::from_hash(Algorithm::Sha512, &state.finish())),
            State::Lost(_) => None,
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
        write!(f, "Hasher({:?} at {})", self.algorithm(), self.offset())
    }
}

/// Maximum number of hashed bytes in a valid record: an exbibyte, more than any disk has. sha256 counts bits
/// in 64 bits and would overflow soon after.
const LONGEST: u64 = 1 << 60;

impl State {
    /// Reads a stored record. Returns `None` if it is none of `algorithm`, or if its number of bytes is not possible.
    fn decode(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let state = match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256State::decode(bytes)?),
            Algorithm::Sha512 => Self::Sha512(Sha512State::decode(bytes)?),
        };
        (state.offset() <= LONGEST).then_some(state)
    }

    const fn offset(&self) -> u64 {
        match self {
            Self::Sha256(state) => state.length(),
            Self::Sha512(state) => state.length(),
            Self::Lost(offset) => *offset,
        }
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
