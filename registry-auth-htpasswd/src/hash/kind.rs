//! [`Kind`]: the kinds of hashes, and the marks that tell them apart.

use super::{
    digits::digit,
    md5_crypt::{APR1, MD5_CRYPT},
};
use std::{fmt, str::FromStr};

/// Kind of a password hash.
///
/// Configurations name a kind by its [`key`](Self::key):
///
/// ```
/// use registry_auth_htpasswd::Kind;
///
/// assert_eq!("sha512-crypt".parse(), Ok(Kind::Sha512Crypt));
/// assert_eq!(Kind::Apr1.key(), "apr1");
/// assert!("md5".parse::<Kind>().is_err());
/// ```
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
    /// All kinds, the strongest first.
    pub const ALL: [Self; 8] = [
        Self::Bcrypt,
        Self::Sha512Crypt,
        Self::Sha256Crypt,
        Self::Apr1,
        Self::SaltedSha1,
        Self::Sha1,
        Self::Md5Crypt,
        Self::DesCrypt,
    ];

    /// Returns the name in configurations.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Bcrypt => "bcrypt",
            Self::Sha256Crypt => "sha256-crypt",
            Self::Sha512Crypt => "sha512-crypt",
            Self::Apr1 => "apr1",
            Self::SaltedSha1 => "ssha",
            Self::Sha1 => "sha",
            Self::Md5Crypt => "md5-crypt",
            Self::DesCrypt => "des-crypt",
        }
    }

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
    pub(super) const fn is_built_in(self) -> bool {
        cfg!(feature = "legacy") || !matches!(self, Self::Md5Crypt | Self::DesCrypt)
    }

    /// Finds the kind by the first characters of a hash. DES crypt has no such mark: its alphabet and length identify
    /// it.
    pub(super) fn of(text: &str) -> Option<Self> {
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

/// Error for a text that is not the key of a kind. Its message lists the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be one of: ")?;
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            write!(f, "{}`{}`", if index == 0 { "" } else { ", " }, kind.key())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(key: &str) -> Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|kind| kind.key() == key);
        kind.ok_or(UnknownKind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
