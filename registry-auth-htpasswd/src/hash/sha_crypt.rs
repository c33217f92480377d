//! SHA-256 and SHA-512 crypt, by the crate `sha-crypt`.

use super::{digits::digit, error::HashError, kind::Kind};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};

/// Most rounds that are accepted or made. A login takes about a second, even for an unknown user, whose password is
/// hashed against an existing line.
pub(super) const MOST_ROUNDS: u32 = 1_000_000;

/// Fewest rounds that the specification of SHA-crypt allows.
pub(super) const FEWEST_ROUNDS: u32 = 1000;

/// Returns the hash if it is well formed: `$5$[rounds=N$]SALT$DIGEST`.
pub(super) fn checked(kind: Kind, text: &str) -> Result<Box<str>, HashError> {
    let damaged = HashError::Damaged(kind);
    let mut fields = text.split('$').skip(2);
    let mut next = || fields.next().ok_or(damaged);
    let mut salt = next()?;
    if let Some(rounds) = salt.strip_prefix("rounds=") {
        match rounds.parse().map_err(|_not_a_number| damaged)? {
            FEWEST_ROUNDS..=MOST_ROUNDS => {}
            0..FEWEST_ROUNDS => return Err(damaged),
            _ => return Err(HashError::TooCostly(kind)),
        }
        salt = next()?;
    }
    let digest = next()?;
    let digits = if kind == Kind::Sha256Crypt { 43 } else { 86 };
    let well_formed = salt.len() <= 16
        && digest.len() == digits
        && digest.bytes().all(|byte| digit(byte).is_some())
        && next().is_err();
    well_formed.then(|| text.into()).ok_or(damaged)
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    ShaCrypt::default().verify_password(password, text).is_ok()
}
