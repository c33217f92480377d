//! [`Marks`]: a set of content that stays, small enough for every blob of a large storage.

use crate::digest::Digest;
use std::{
    collections::HashSet,
    hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState},
};

/// Cause for which content stays, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Only items refer to it that nothing keeps, and that are due later.
    Due,
    /// Only content that cannot be read may refer to it.
    Pin,
    /// Only manifests that are not tagged refer to it, directly or not.
    Untagged,
    /// Only records of deletions refer to it, or manifests that are not tagged.
    Trash,
    /// It is in use.
    Use,
}

/// Salted hash of a digest. Two digests with the same one stay together: a collision keeps content, and never removes
/// it.
#[derive(Clone, Copy)]
pub(super) struct Key(u64);

/// Salt of the keys of one run.
#[derive(Default)]
pub(super) struct Salt(RandomState);

impl Salt {
    pub(super) fn key(&self, digest: &Digest) -> Key {
        Key(self.0.hash_one(digest))
    }
}

/// Set of keys, each with its strongest hold. An entry takes at most 21 bytes.
pub(super) struct Marks {
    /// One set for each value of the first byte of a key. They grow one at a time, so that no copy of all is made.
    shards: Vec<HashSet<Mark, BuildHasherDefault<Spread>>>,
}

/// A key without its last three bits, which are the hold.
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    const HOLD: u64 = 0b111;

    const fn new(key: Key, hold: Hold) -> Self {
        Self((key.0 & !Self::HOLD) | hold as u64)
    }

    const fn hold(self) -> Hold {
        match self.0 & Self::HOLD {
            0 => Hold::Due,
            1 => Hold::Pin,
            2 => Hold::Untagged,
            3 => Hold::Trash,
            _ => Hold::Use,
        }
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.0 | Self::HOLD == other.0 | Self::HOLD
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 | Self::HOLD);
    }
}

/// Hasher of numbers that are random except for a few equal bits.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The last three bits are equal, and so is the first byte within a shard: a set uses both ends.
        self.0 = (number >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..=u8::MAX).map(|_| HashSet::default()).collect(),
        }
    }

    /// Adds a key. The stronger of two holds counts.
    pub(super) fn add(&mut self, key: Key, hold: Hold) {
        let shard = self.shards.get_mut(Self::shard(key));
        let shard = shard.expect("there is a shard for every value of a byte");
        let known = shard.get(&Mark::new(key, hold)).map(|mark| mark.hold());
        if known.is_none_or(|known| known < hold) {
            shard.replace(Mark::new(key, hold));
        }
    }

    /// Returns the hold of a key; `None` if nothing refers to it.
    pub(super) fn hold(&self, key: Key) -> Option<Hold> {
        let shard = self.shards.get(Self::shard(key))?;
        shard.get(&Mark::new(key, Hold::Pin)).map(|mark| mark.hold())
    }

    fn shard(key: Key) -> usize {
        usize::from(key.0.to_be_bytes()[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn digest(number: u64) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_be_bytes())
    }

    #[test]
    fn the_strongest_hold_counts_in_any_order() {
        let (salt, mut marks) = (Salt::default(), Marks::new());
        for number in 0..1000 {
            let key = salt.key(&digest(number));
            assert_eq!(marks.hold(key), None);
            marks.add(key, Hold::Untagged);
            marks.add(key, if number % 2 == 0 { Hold::Pin } else { Hold::Use });
        }
        for number in 0..1000 {
            let expected = if number % 2 == 0 {
                Hold::Untagged
            } else {
                Hold::Use
            };
            assert_eq!(marks.hold(salt.key(&digest(number))), Some(expected));
        }
        assert_eq!(marks.hold(salt.key(&digest(1000))), None);
    }

    #[test]
    fn a_mark_takes_at_most_24_bytes() {
        let mut marks = Marks::new();
        // Numbers that are spread over the shards as hashes are.
        let mut random = 1_u64;
        for count in 1..=300_000_usize {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            marks.add(Key(random), Hold::Use);
            if count >= 100_000 && count % 10_000 == 0 {
                // A set has a power of two of places, of which it fills 7 of 8. A place takes 9 bytes.
                let places = |capacity: usize| (capacity * 8 / 7).next_power_of_two();
                let bytes: usize = marks
                    .shards
                    .iter()
                    .map(|shard| 9 * places(shard.capacity()))
                    .sum();
                assert!(bytes <= 24 * count, "{bytes} bytes for {count}");
            }
        }
    }
}
