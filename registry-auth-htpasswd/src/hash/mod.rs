//! Password hashes as they stand in htpasswd files: one type for all kinds, and the function that tells the kinds
//! apart.
//!
//! Passwords in plain text are never accepted: such a line has no known kind.

mod bcrypt;
#[cfg(feature = "legacy")]
mod des_crypt;
mod make;
mod md5_crypt;
mod sha1;
mod sha_crypt;

pub use make::{MakeError, Scheme, hash};

use md5_crypt::{APR1, MD5_CRYPT};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Kind of a password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// bcrypt: `$2y$`, `$2b$` or `$2a$`. The kind to use, and the only one that registry:2 reads.
    Bcrypt,
    /// SHA-256 crypt: `$5$`, with or without `rounds=`.
    Sha256Crypt,
    /// SHA-512 crypt: `$6$`, with or without `rounds=`.
    Sha512Crypt,
    /// Apache's variant of MD5 crypt: `$apr1$`.
    Apr1,
    /// SHA-1 with a salt, as LDAP servers have it: `{SSHA}`.
    SaltedSha1,
    /// SHA-1 without a salt: `{SHA}`.
    Sha1,
    /// MD5 crypt: `$1$`. Verified with the feature `legacy` only.
    Md5Crypt,
    /// The crypt of old Unix, which reads eight characters of a password. Verified with the feature `legacy` only.
    DesCrypt,
}

impl Kind {
    /// Returns the name for people, with the mark of this kind in a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bcrypt => "bcrypt ($2y$)",
            Self::Sha256Crypt => "SHA-256 crypt ($5$)",
            Self::Sha512Crypt => "SHA-512 crypt ($6$)",
            Self::Apr1 => "Apache's MD5 ($apr1$)",
            Self::SaltedSha1 => "salted SHA-1 ({SSHA})",
            Self::Sha1 => "SHA-1 without a salt ({SHA})",
            Self::Md5Crypt => "MD5 crypt ($1$)",
            Self::DesCrypt => "DES crypt",
        }
    }

    /// Returns true if most passwords can be recovered from a leaked file within hours.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        match self {
            Self::Bcrypt | Self::Sha256Crypt | Self::Sha512Crypt => false,
            Self::Apr1 | Self::SaltedSha1 | Self::Sha1 | Self::Md5Crypt | Self::DesCrypt => true,
        }
    }

    /// Returns true if this build verifies hashes of this kind.
    const fn is_built_in(self) -> bool {
        cfg!(feature = "legacy") || !matches!(self, Self::Md5Crypt | Self::DesCrypt)
    }

    /// Finds the kind by the first characters of a hash. DES crypt has no such mark: its alphabet and length identify
    /// it.
    fn of(text: &str) -> Option<Self> {
        let marked = [
            ("$2y$", Self::Bcrypt),
            ("$2b$", Self::Bcrypt),
            ("$2a$", Self::Bcrypt),
            ("$5$", Self::Sha256Crypt),
            ("$6$", Self::Sha512Crypt),
            (APR1, Self::Apr1),
            ("{SSHA}", Self::SaltedSha1),
            ("{SHA}", Self::Sha1),
            (MD5_CRYPT, Self::Md5Crypt),
        ];
        let marked = marked.into_iter().find(|(mark, _)| text.starts_with(mark));
        marked
            .map(|(_, kind)| kind)
            .or_else(|| looks_like_des(text).then_some(Self::DesCrypt))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reason why a text is not a hash that passwords can be verified against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// Plain text, or an unknown kind such as yescrypt.
    #[error("not a hash of a known kind (plain text is never accepted)")]
    UnknownKind,
    /// The kind is known, but the rest of the hash is malformed.
    #[error("a damaged hash: it begins as {0} and does not go on as one")]
    Damaged(Kind),
    /// One login would take more than a few seconds of processor time: bcrypt beyond cost 15, SHA-crypt beyond a
    /// million rounds.
    #[error("{0} with so high a cost that a few logins would keep everybody else waiting")]
    TooCostly(Kind),
    /// The kind is known, but this build does not verify it.
    #[error("{0}, which this build does not verify (it lacks the feature `legacy`)")]
    NotBuiltIn(Kind),
}

/// The hash of a password, as it stands in a file.
///
/// ```
/// use registry_auth_htpasswd::PasswordHash;
///
/// let hash = PasswordHash::parse("$apr1$Mxfd5gnm$AsfPCWkXkCR5NDfW3vFLU/")?;
/// assert!(hash.kind().is_weak());
/// assert!(!hash.verify(b"not this one"));
/// # Ok::<(), registry_auth_htpasswd::HashError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    text: Box<str>,
}

impl PasswordHash {
    /// Parses a hash.
    ///
    /// # Errors
    ///
    /// [`HashError`] says what is wrong with the text, without repeating it.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let kind = Kind::of(text).ok_or(HashError::UnknownKind)?;
        if !kind.is_built_in() {
            return Err(HashError::NotBuiltIn(kind));
        }
        let text = match kind {
            Kind::Bcrypt => bcrypt::checked(text)?,
            Kind::Sha256Crypt | Kind::Sha512Crypt => sha_crypt::checked(kind, text)?,
            _ => text.into(),
        };
        let well_formed = match kind {
            Kind::Bcrypt | Kind::Sha256Crypt | Kind::Sha512Crypt | Kind::DesCrypt => true,
            Kind::Apr1 => md5_crypt::split(&text, APR1).is_some(),
            Kind::Md5Crypt => md5_crypt::split(&text, MD5_CRYPT).is_some(),
            Kind::SaltedSha1 => sha1::salted(&text).is_some(),
            Kind::Sha1 => sha1::bare(&text).is_some(),
        };
        if well_formed {
            Ok(Self { kind, text })
        } else {
            Err(HashError::Damaged(kind))
        }
    }

    /// Returns the kind of the hash.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns true if this is the hash of `password`. The time does not depend on how much of the password is right.
    ///
    /// It takes tens of milliseconds of processor time on purpose, so keep it off an async runtime. bcrypt reads the
    /// first 72 bytes of a password and DES crypt the first eight, as every program does that writes such hashes.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text),
            Kind::Sha256Crypt | Kind::Sha512Crypt => sha_crypt::verify(password, &self.text),
            Kind::Apr1 => md5_crypt::verify(password, &self.text, APR1),
            Kind::Md5Crypt => md5_crypt::verify(password, &self.text, MD5_CRYPT),
            Kind::SaltedSha1 => sha1::salted(&self.text).is_some_and(|kept| kept.verify(password)),
            Kind::Sha1 => sha1::bare(&self.text).is_some_and(|kept| kept.verify(password)),
            Kind::DesCrypt => self.verify_des(password),
        }
    }

    #[cfg(feature = "legacy")]
    fn verify_des(&self, password: &[u8]) -> bool {
        des_crypt::crypt(password, self.text.as_bytes())
            .is_some_and(|computed| same(computed.as_slice(), self.text.as_bytes()))
    }

    #[cfg(not(feature = "legacy"))]
    #[expect(clippy::unused_self, reason = "the same shape as with the feature")]
    const fn verify_des(&self, _password: &[u8]) -> bool {
        false
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Debug for PasswordHash {
    /// Shows the kind only: a hash is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.kind)
    }
}

/// The digits of crypt's own base 64, from 0 on.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns the value of a digit.
fn digit(byte: u8) -> Option<u8> {
    DIGITS
        .iter()
        .position(|&known| known == byte)
        .and_then(|value| u8::try_from(value).ok())
}

/// Returns the digit of the lowest six bits.
fn to_digit(value: u32) -> u8 {
    let index = usize::try_from(value & 0x3f).unwrap_or_default();
    DIGITS.get(index).copied().unwrap_or(b'.')
}

/// Returns true if the text has two characters of salt and eleven for 64 bits, the last of which stands for four bits
/// only.
fn looks_like_des(text: &str) -> bool {
    text.len() == 13
        && text.bytes().all(|byte| digit(byte).is_some())
        && text
            .bytes()
            .last()
            .and_then(digit)
            .is_some_and(|last| last & 0b11 == 0)
}

/// Returns true if two texts of known length are equal. The time depends on their lengths only.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
