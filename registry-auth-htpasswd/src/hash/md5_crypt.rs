//! MD5 crypt: `$1$`, and Apache's variant `$apr1$`, which differs only in the mark.
//!
//! The scheme is a thousand rounds of MD5, from 1994. No maintained library has it, and it is short.

use super::digits::{digit, same, to_digit};
use md5::{Digest as _, Md5};

/// The mark of Apache's variant.
pub(super) const APR1: &str = "$apr1$";

/// The mark of the original.
pub(super) const MD5_CRYPT: &str = "$1$";

/// Maximum number of characters of a salt.
const SALT: usize = 8;

/// Order in which the digest's bytes are written, three at a time; the last one stands alone.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
const LAST: usize = 11;

/// A digest in its written form.
type Checksum = [u8; 22];

/// Splits `MARK SALT $ CHECKSUM` into salt and checksum; `None` if the text has another form.
pub(super) fn split<'a>(text: &'a str, mark: &str) -> Option<(&'a [u8], &'a [u8])> {
    let (salt, checksum) = text.strip_prefix(mark)?.split_once('$')?;
    let well_formed = salt.len() <= SALT
        && checksum.len() == size_of::<Checksum>()
        && checksum.bytes().all(|byte| digit(byte).is_some());
    well_formed.then_some((salt.as_bytes(), checksum.as_bytes()))
}

pub(super) fn verify(password: &[u8], text: &str, mark: &str) -> bool {
    split(text, mark).is_some_and(|(salt, checksum)| same(&compute(password, salt, mark), checksum))
}

/// Returns the whole hash, for a file.
pub(super) fn hash(password: &[u8], salt: &[u8], mark: &str) -> String {
    let checksum = compute(password, salt, mark);
    let salt = String::from_utf8_lossy(salt);
    format!("{mark}{salt}${}", String::from_utf8_lossy(&checksum))
}

fn compute(password: &[u8], salt: &[u8], mark: &str) -> Checksum {
    let alternate: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut start = Md5::new()
        .chain_update(password)
        .chain_update(mark)
        .chain_update(salt);
    for piece in password.chunks(alternate.len()) {
        let (used, _) = alternate.split_at(piece.len());
        start.update(used);
    }
    // A zero or the first character for each bit of the length: an error in the first implementation, now part of
    // the format.
    let first = password.get(..1).unwrap_or_default();
    let mut length = password.len();
    while length > 0 {
        start.update(if length & 1 == 1 { &[0] } else { first });
        length >>= 1;
    }
    let mut digest: [u8; 16] = start.finalize().into();

    for round in 0..1000 {
        let mut md5 = Md5::new();
        let (before, after): (&[u8], &[u8]) = if round % 2 == 1 {
            (password, &digest)
        } else {
            (&digest, password)
        };
        md5.update(before);
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(after);
        digest = md5.finalize().into();
    }
    encode(digest)
}

/// Encodes a digest in crypt's base 64: the lowest bits first.
fn encode(digest: [u8; 16]) -> Checksum {
    let at = |index: usize| digest.get(index).copied().map_or(0, u32::from);
    let groups = ORDER
        .iter()
        .map(|&[high, middle, low]| (at(high) << 16 | at(middle) << 8 | at(low), 4))
        .chain([(at(LAST), 2)]);
    let mut digits =
        groups.flat_map(|(bits, count)| (0..count).map(move |index| to_digit(bits >> (6 * index))));
    std::array::from_fn(|_| digits.next().unwrap_or_default())
}
