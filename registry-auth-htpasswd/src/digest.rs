//! [`DigestKey`]: makes the digests that stand for verified passwords.

use crate::{
    random::{RandomError, fill},
    table::Entry,
    verified_password::Digest,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

/// Key for digests.
#[derive(Clone)]
pub(crate) struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    pub(crate) fn random() -> Result<Self, RandomError> {
        let mut key = zeroize::Zeroizing::new([0; 64]);
        fill(&mut *key)?;
        Ok(Self(Hmac::new(&(*key).into())))
    }

    /// Returns the digest of a password, for a line.
    pub(crate) fn digest(&self, entry: &Entry, password: &[u8]) -> Digest {
        let mut mac = self.0.clone();
        for part in [entry.user.as_bytes(), entry.hash.as_bytes(), password] {
            mac.update(&part.len().to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}
