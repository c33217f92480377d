//! [`Bloom`]: a set of keys in 8 MiB, which may also contain others.

use crate::digest_locks::Key;

/// Number of words of 64 bits: 8 MiB.
const WORDS: usize = 1 << 20;
/// Number of bits set for a key.
const HASHES: u64 = 4;

/// A Bloom filter. Its memory is allocated with the first key.
#[derive(Debug, Default)]
pub(crate) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    pub(crate) fn insert(&mut self, key: Key) {
        if self.words.is_empty() {
            self.words = vec![0; WORDS];
        }
        for (word, mask) in places(key) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= mask;
            }
        }
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        places(key).all(|(word, mask)| self.words.get(word).is_some_and(|word| word & mask != 0))
    }
}

/// Returns the bits of a key, each as a word and a mask. The key is a hash, so its halves are independent.
fn places(key: Key) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (key.number() & 0xffff_ffff, key.number() >> 32 | 1);
    (0..HASHES).map(move |hash| {
        let bit = first + hash * step;
        let word = usize::try_from(bit / 64).unwrap_or_default();
        (word % WORDS, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher as _, RandomState};

    #[test]
    fn what_was_inserted_is_found_and_hardly_anything_else() {
        const COUNT: u64 = 400_000;
        let hasher = RandomState::new();
        let key = |number: u64| Key::of(hasher.hash_one(number));
        let mut filter = Bloom::default();
        assert!(!filter.contains(key(0)) && filter.words.is_empty());

        (0..COUNT).for_each(|number| filter.insert(key(number)));

        assert!((0..COUNT).all(|number| filter.contains(key(number))));
        let wrong = (COUNT..2 * COUNT).filter(|number| filter.contains(key(*number)));
        assert!(wrong.count() < 100);
        assert_eq!(filter.words.len() * 8, 8 << 20);
    }
}
