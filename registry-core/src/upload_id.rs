//! [`UploadId`]: id of an upload session.

use std::{fmt, str::FromStr};

/// Id of an upload session: 128 bits, created by the backend and written as a UUID.
///
/// ```
/// use registry_core::UploadId;
///
/// // Use random bytes, so that clients cannot guess the ids of other sessions.
/// let id = UploadId::from_random([0x5a; 16]);
/// assert_eq!(id.to_string(), "5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a");
/// assert_eq!(UploadId::parse(&id.to_string()), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(u128);

/// Error for a string that is not the id of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of an upload session is a UUID in lower case, with dashes")]
pub struct InvalidUploadId;

impl UploadId {
    /// Creates an id from 16 random bytes, as a version 4 UUID.
    #[must_use]
    pub const fn from_random(random: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(random);
        let version = bits & !(0xf << 76) | 0x4 << 76;
        Self(version & !(0x3 << 62) | 0x2 << 62)
    }

    /// Parses a UUID of any version, in lower case and with dashes.
    ///
    /// # Errors
    ///
    /// [`InvalidUploadId`] for any other form.
    pub fn parse(text: &str) -> Result<Self, InvalidUploadId> {
        let hex: String = text.split('-').collect();
        let id = u128::from_str_radix(&hex, 16)
            .map(Self)
            .or(Err(InvalidUploadId))?;
        // An id has one spelling. Upper case, a sign or dashes at other places are refused.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(InvalidUploadId)
        }
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        Self::parse(text)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_become_a_version_4_uuid_that_reads_back() {
        let id = UploadId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(UploadId::parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        for text in [
            "",
            "-",
            "FFFFFFFF-ffff-4fff-bfff-ffffffffffff",
            "ffffffffffff4fffbfffffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-bfff-ffffffffffff-",
            "../../../etc",
        ] {
            assert!(UploadId::parse(text).is_err(), "{text:?}");
        }
    }
}
