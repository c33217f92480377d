//! [`Sha2State`], a running SHA-256 or SHA-512 whose state is plain words, stored in Go's layout.
//!
//! `sha2` compresses the blocks. Its own hashers do not give their words away, except in a layout that is an
//! implementation detail of theirs.
//!
//! Specification: FIPS 180-4, sections 5 and 6.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::block_api::{compress256, compress512};
use std::{array, slice};

pub(super) type Sha256State = Sha2State<u32, 64>;
pub(super) type Sha512State = Sha2State<u64, 128>;

/// Running hash over words of type `W`, in blocks of `BLOCK` bytes.
#[derive(Clone)]
pub(super) struct Sha2State<W, const BLOCK: usize> {
    words: [W; 8],
    /// Number of hashed bytes. The last `length % BLOCK` of them are at the start of `block`.
    length: u64,
    block: [u8; BLOCK],
}

/// Word of a SHA-2 function, and what depends on its size.
pub(super) trait Word<const BLOCK: usize>: Copy {
    /// Initial hash value.
    const INITIAL: [Self; 8];
    /// First bytes of a stored state.
    const MAGIC: [u8; 4];

    /// Hashes whole blocks.
    fn compress(words: &mut [Self; 8], blocks: &[[u8; BLOCK]]);

    /// Appends the word, big-endian.
    fn put(self, to: &mut BytesMut);

    /// Reads a word, big-endian. Panics if fewer bytes are left.
    fn get(from: &mut &[u8]) -> Self;

    /// Appends the length of the content as a number of bits, as large as the padding has it.
    fn put_bits(length: u64, to: &mut BytesMut);
}

impl<W: Word<BLOCK>, const BLOCK: usize> Sha2State<W, BLOCK> {
    /// Length of a stored state: magic, words, a block, number of hashed bytes.
    const ENCODED: usize = 4 + 8 * size_of::<W>() + BLOCK + 8;

    /// Returns the state before the first byte.
    pub(super) const fn new() -> Self {
        Self {
            words: W::INITIAL,
            length: 0,
            block: [0; BLOCK],
        }
    }

    /// Returns the number of hashed bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let pending = self.pending().len();
        self.length += bytes.len() as u64;
        let mut rest = bytes;
        if pending > 0 {
            let (_, room) = self.block.split_at_mut(pending);
            let (head, tail) = rest.split_at(room.len().min(rest.len()));
            let (filled, free) = room.split_at_mut(head.len());
            filled.copy_from_slice(head);
            if !free.is_empty() {
                return;
            }
            W::compress(&mut self.words, slice::from_ref(&self.block));
            rest = tail;
        }
        let (blocks, tail) = rest.as_chunks();
        if !blocks.is_empty() {
            W::compress(&mut self.words, blocks);
        }
        let (pending, _) = self.block.split_at_mut(tail.len());
        pending.copy_from_slice(tail);
    }

    /// Returns the hash of all bytes.
    pub(super) fn finish(mut self) -> Bytes {
        let mut padded = BytesMut::with_capacity(2 * BLOCK);
        padded.put_slice(self.pending());
        padded.put_u8(0x80);
        // The number of bits fills an eighth of a block, at its end.
        let unpadded = padded.len() + BLOCK / 8;
        padded.put_bytes(0, unpadded.next_multiple_of(BLOCK) - unpadded);
        W::put_bits(self.length, &mut padded);
        let (blocks, _) = padded.as_chunks();
        W::compress(&mut self.words, blocks);
        self.put_words(BytesMut::new()).freeze()
    }

    /// Returns the state in Go's layout.
    pub(super) fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(Self::ENCODED);
        to.put_slice(&W::MAGIC);
        let mut to = self.put_words(to);
        let pending = self.pending();
        to.put_slice(pending);
        to.put_bytes(0, BLOCK - pending.len());
        to.put_u64(self.length);
        to.freeze()
    }

    /// Reads a state in Go's layout. Returns `None` unless length and magic are right.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::ENCODED {
            return None;
        }
        let mut from = bytes.strip_prefix(&W::MAGIC)?;
        let words = array::from_fn(|_| W::get(&mut from));
        let (block, length) = from.split_first_chunk()?;
        Some(Self {
            words,
            length: u64::from_be_bytes(length.try_into().ok()?),
            block: *block,
        })
    }

    fn put_words(&self, mut to: BytesMut) -> BytesMut {
        for word in self.words {
            word.put(&mut to);
        }
        to
    }

    /// Returns the bytes that do not fill a block yet.
    fn pending(&self) -> &[u8] {
        // The remainder is smaller than a block.
        let pending = usize::try_from(self.length % BLOCK as u64).unwrap_or_default();
        self.block.get(..pending).unwrap_or_default()
    }
}

impl Word<64> for u32 {
    const INITIAL: [Self; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    const MAGIC: [u8; 4] = *b"sha\x03";

    fn compress(words: &mut [Self; 8], blocks: &[[u8; 64]]) {
        compress256(words, blocks);
    }

    fn put(self, to: &mut BytesMut) {
        to.put_u32(self);
    }

    fn get(from: &mut &[u8]) -> Self {
        from.get_u32()
    }

    fn put_bits(length: u64, to: &mut BytesMut) {
        to.put_u64(length.wrapping_mul(8));
    }
}

impl Word<128> for u64 {
    const INITIAL: [Self; 8] = [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ];
    const MAGIC: [u8; 4] = *b"sha\x07";

    fn compress(words: &mut [Self; 8], blocks: &[[u8; 128]]) {
        compress512(words, blocks);
    }

    fn put(self, to: &mut BytesMut) {
        to.put_u64(self);
    }

    fn get(from: &mut &[u8]) -> Self {
        from.get_u64()
    }

    fn put_bits(length: u64, to: &mut BytesMut) {
        to.put_u128(u128::from(length) * 8);
    }
}
