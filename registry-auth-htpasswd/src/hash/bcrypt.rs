//! bcrypt, by the crate of that name.

use super::{HashError, Kind};
use std::str::FromStr as _;

/// Where the last character of the salt is, of whose six bits only two belong to the salt.
const END_OF_SALT: usize = 28;

/// The characters whose four lower bits are 0, in bcrypt's order of digits.
const PADDED: &[u8; 4] = b".Oeu";

/// bcrypt's own order of digits.
const DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The costliest hash that is taken or made: two to three seconds for each login, also for strangers, whose logins are
/// measured against it.
pub(super) const COSTLIEST: u32 = 15;

/// The hash, if it is one.
///
/// Some old programs made salts whose padding is not 0. It never counted, so it is cleared.
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
