//! bcrypt, by the crate of that name.

use super::{error::HashError, kind::Kind};
use std::str::FromStr as _;

/// Index of the salt's last character. Only two of its six bits belong to the salt.
const END_OF_SALT: usize = 28;

/// Digits whose four lower bits are 0, in bcrypt's order of digits.
const PADDED: &[u8; 4] = b".Oeu";

/// Digits of bcrypt's base 64, from 0 on.
const DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Highest cost that is accepted or made. A login takes two to three seconds, even for an unknown user, whose password
/// is hashed against an existing line.
pub(super) const COSTLIEST: u32 = 15;

/// Returns the hash if it is well formed.
///
/// Some old programs made salts whose padding is not 0. bcrypt ignores these bits, so they are cleared.
pub(super) fn checked(text: &str) -> Result<Box<str>, HashError> {
    let damaged = HashError::Damaged(Kind::Bcrypt);
    let mut text = text.to_owned();
    let end = text.as_bytes().get(END_OF_SALT).copied().ok_or(damaged)?;
    let value = DIGITS.iter().position(|&known| known == end).ok_or(damaged)?;
    let padded = PADDED.get(value >> 4).copied().map(char::from).ok_or(damaged)?;
    text.replace_range(END_OF_SALT..=END_OF_SALT, padded.encode_utf8(&mut [0; 4]));
    let parts = bcrypt::HashParts::from_str(&text).map_err(|_malformed| damaged)?;
    match parts.get_cost() {
        4..=COSTLIEST => Ok(text.into()),
        0..4 => Err(damaged),
        _ => Err(HashError::TooCostly(Kind::Bcrypt)),
    }
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    bcrypt::verify(password, text).unwrap_or(false)
}
