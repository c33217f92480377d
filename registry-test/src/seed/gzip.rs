//! [`gzip`]: the form of gzip, without compression.
//!
//! Format: RFC 1952, and the stored blocks of RFC 1951. A library's compressor may write other bytes in its next version,
//! and digests of seeds never change.

/// Beginning of a file: deflate, no name, time 0, an unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Maximum size of a stored block, in bytes.
const BLOCK: usize = 0xffff;

/// Writes content as gzip, in stored blocks.
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut written = HEAD.to_vec();
    let (blocks, last) = content.split_at(content.len().saturating_sub(1) / BLOCK * BLOCK);
    for block in blocks.chunks(BLOCK) {
        write_block(&mut written, 0, block);
    }
    write_block(&mut written, 1, last);
    written.extend(crc32(content).to_le_bytes());
    let [a, b, c, d, ..] = content.len().to_le_bytes();
    written.extend([a, b, c, d]);
    written
}

fn write_block(written: &mut Vec<u8>, is_last: u8, block: &[u8]) {
    let size = u16::try_from(block.len()).expect("a block has at most 65535 bytes");
    written.push(is_last);
    written.extend(size.to_le_bytes());
    written.extend((!size).to_le_bytes());
    written.extend(block);
}

/// Returns the checksum of gzip.
fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_decompressor_reads_content_of_any_size() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 200_000] {
            let content: Vec<_> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
            let mut read = Vec::new();
            let written = gzip(&content);
            // The decoder compares checksum and length.
            flate2::read::GzDecoder::new(&written[..])
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == content, "{size}");
        }
    }
}
