//! [`PasswordHash`]: one type for hashes of all kinds.

use super::{
    bcrypt,
    error::HashError,
    kind::Kind,
    md5_crypt::{self, APR1, MD5_CRYPT},
    sha_crypt, sha1,
};
#[cfg(feature = "legacy")]
use super::{des_crypt, digits::same};
use std::fmt;

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
