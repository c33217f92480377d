//! Crypt's own base 64, and the comparison of hashes.

use subtle::ConstantTimeEq as _;

/// The digits of crypt's own base 64, from 0 on.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns the value of a digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    DIGITS
        .iter()
        .position(|&known| known == byte)
        .and_then(|value| u8::try_from(value).ok())
}

/// Returns the digit of the lowest six bits.
pub(super) fn to_digit(value: u32) -> u8 {
    let index = usize::try_from(value & 0x3f).unwrap_or_default();
    DIGITS.get(index).copied().unwrap_or(b'.')
}

/// Returns true if two texts of known length are equal. The time depends on their lengths only.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
