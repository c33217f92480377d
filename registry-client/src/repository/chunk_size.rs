//! [`ChunkSize`]: the sizes of chunks that a registry accepts, or a proxy in front of it.

/// Size of a chunk, in bytes, unless the registry requires larger ones or refuses them.
pub(super) const CHUNK: u64 = 16 << 20;
/// Smallest chunk that is tried after a refusal, in bytes.
const SMALLEST: u64 = 64 << 10;

/// Size of the chunks of one push. It becomes smaller when a chunk is refused because of its size (413).
#[derive(Debug)]
pub(super) struct ChunkSize {
    most: u64,
    /// Size that the registry requires of each chunk but the last.
    required: u64,
    /// Smallest chunk that is tried after a refusal.
    least: u64,
    /// Size of the last chunk.
    tried: u64,
    /// Largest chunk that the registry has accepted.
    accepted: u64,
    /// True if no chunk was accepted since the last refusal.
    is_refused: bool,
}

impl ChunkSize {
    /// Starts with chunks of at most `most` bytes, or else of any size. The registry requires at least `least` bytes.
    pub(super) fn new(most: Option<u64>, least: Option<u64>) -> Self {
        let required = least.unwrap_or_default();
        let least = required.max(SMALLEST);
        Self {
            most: most.map_or(u64::MAX, |most| most.max(least)),
            required,
            least,
            tried: 0,
            accepted: 0,
            is_refused: false,
        }
    }

    /// Returns the size of the next chunk of a rest. What it leaves is no shorter than the registry requires, if possible.
    pub(super) fn next(&mut self, rest: u64) -> u64 {
        let size = rest.min(self.most);
        let half = rest.div_ceil(2);
        let leaves_short = size < rest && self.is_short(rest - size);
        self.tried = if leaves_short && !self.is_short(rest - half) {
            half
        } else {
            size
        };
        self.tried
    }

    /// Returns true if the registry accepts a chunk of this size only as the last one.
    pub(super) const fn is_short(&self, size: u64) -> bool {
        size < self.required
    }

    /// Notes that the last chunk was accepted. Returns the maximum if that proves it: a larger chunk was refused before.
    pub(super) fn accept(&mut self) -> Option<u64> {
        self.accepted = self.accepted.max(self.tried);
        std::mem::take(&mut self.is_refused).then_some(self.most)
    }

    /// Returns the size after a refusal of the last chunk, which is about half of it. `None` if smaller chunks are of no
    /// use: the registry has accepted one of this size, or requires it.
    pub(super) fn refuse(&mut self) -> Option<u64> {
        if self.tried <= self.accepted.max(self.least) {
            return None;
        }
        self.is_refused = true;
        self.most = (self.tried / 2).min(CHUNK).max(self.least);
        Some(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn each_refusal_halves_the_chunks_down_to_the_smallest() {
        let mut sizes = ChunkSize::new(None, Some(3 * MIB));
        assert_eq!(sizes.next(1 << 40), 1 << 40);
        for expected in [16 * MIB, 8 * MIB, 4 * MIB, 3 * MIB] {
            assert_eq!(sizes.refuse(), Some(expected));
            assert_eq!(sizes.next(1 << 40), expected);
        }
        assert_eq!(sizes.refuse(), None);
    }

    #[test]
    fn what_a_chunk_leaves_is_not_too_short_if_possible() {
        let mut sizes = ChunkSize::new(Some(8 * MIB), Some(5 * MIB));
        let mut rest = 20 * MIB;
        for expected in [8, 6, 6] {
            assert_eq!(sizes.next(rest), expected * MIB);
            rest -= expected * MIB;
        }
        // None of two chunks of 9 MiB has the required size.
        assert_eq!(sizes.next(9 * MIB), 8 * MIB);
    }

    #[test]
    fn a_refusal_of_an_accepted_size_has_another_reason() {
        let mut sizes = ChunkSize::new(Some(8 * MIB), None);
        assert_eq!(sizes.next(20 * MIB), 8 * MIB);
        assert_eq!(sizes.accept(), None);

        assert_eq!(sizes.next(12 * MIB), 8 * MIB);
        assert_eq!(sizes.refuse(), None);
        assert_eq!(sizes.next(4 * MIB), 4 * MIB);
        assert_eq!(sizes.refuse(), None);
    }
}
