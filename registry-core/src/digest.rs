//! [`Digest`] and [`Algorithm`]: names of content, for the algorithms that this registry supports.
//!
//! [`AnyDigest`] also includes digests of other algorithms, which descriptors may contain. [`crate::hash`]
//! computes digests.
//!
//! Specification: image-spec, "Digests".

use std::{fmt, str::FromStr, sync::Arc};

/// Hash algorithm that this registry computes and verifies.
///
/// ```
/// use registry_core::Algorithm;
///
/// assert_eq!("sha512".parse(), Ok(Algorithm::Sha512));
/// assert!("md5".parse::<Algorithm>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// `sha256`, which every registry must support. It is the default.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in the order of their names.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the name, as in digests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of the hash in bytes. The hexadecimal form has twice as many characters.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no hash is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(name: &str) -> Result<Self, InvalidDigest> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| InvalidDigest::UnknownAlgorithm(printable(name)))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Digest `algorithm:hex`, with an algorithm that this registry supports. It is unverified until content is
/// hashed and compared.
///
/// Digests sort in the byte order of their text.
///
/// ```
/// use registry_core::{Algorithm, Digest};
///
/// let claimed = Digest::parse("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")?;
/// assert_eq!(Digest::of(Algorithm::Sha256, b"abc"), claimed);
/// assert_ne!(Digest::of(Algorithm::Sha256, b"other"), claimed);
/// # Ok::<(), registry_core::digest::InvalidDigest>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, followed by zeros.
    raw: [u8; 64],
}

/// Reason for which a string is not a supported digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDigest {
    /// The string does not have the form `algorithm:encoded`.
    #[error("a digest has the form `algorithm:hex`")]
    Grammar,
    /// The digest is well formed, but its algorithm is not supported.
    #[error("the algorithm {0:?} is not supported; use sha256 or sha512")]
    UnknownAlgorithm(String),
    /// The algorithm is supported, but the hash does not have its lower-case hexadecimal form.
    #[error("a {0} digest has {hex} lower-case hexadecimal characters after the colon", hex = 2 * .0.len())]
    Hex(Algorithm),
}

impl Digest {
    /// Parses `algorithm:hex`, with exactly the number of lower-case hexadecimal characters of the algorithm.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] with the reason. Other registries may support a digest with
    /// [`InvalidDigest::UnknownAlgorithm`].
    pub fn parse(digest: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, encoded) = split(digest).ok_or(InvalidDigest::Grammar)?;
        let algorithm: Algorithm = algorithm.parse()?;
        Self::from_hex(algorithm, encoded)
    }

    /// Parses the part after the colon.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest::Hex`] if the length is wrong or a character is not lower-case hexadecimal.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, InvalidDigest> {
        let mut raw = [0; 64];
        let (pairs, odd) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != algorithm.len() || !odd.is_empty() {
            return Err(InvalidDigest::Hex(algorithm));
        }
        for (byte, [high, low]) in raw.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else {
                return Err(InvalidDigest::Hex(algorithm));
            };
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, raw })
    }

    /// Creates a digest from its hash, whose length must be that of the algorithm.
    pub(crate) fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        debug_assert_eq!(hash.len(), algorithm.len(), "a hash has its algorithm's length");
        let mut raw = [0; 64];
        for (to, from) in raw.iter_mut().zip(hash) {
            *to = *from;
        }
        Self { algorithm, raw }
    }

    /// Returns its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hash: [`Algorithm::len`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.get(..self.algorithm.len()).unwrap_or_default()
    }

    /// Returns the part after the colon, in lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(2 * self.algorithm.len());
        // Several times a request: `{:02x}` costs seven times as much.
        for byte in self.as_bytes() {
            hex.push(digit(byte >> 4));
            hex.push(digit(byte & 0xf));
        }
        hex
    }
}

/// Returns the character for a value below 16.
fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or_default()
}

fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// Splits `algorithm:encoded` by the grammar of the image specification. The algorithm need not be supported.
fn split(digest: &str) -> Option<(&str, &str)> {
    let (algorithm, encoded) = digest.split_once(':')?;
    let word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let encodes = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-');
    (algorithm.split(['+', '.', '_', '-']).all(word) && !encoded.is_empty() && encoded.bytes().all(encodes))
        .then_some((algorithm, encoded))
}

/// Shortens a text of a client to 32 characters, for a message.
fn printable(text: &str) -> String {
    text.chars().take(32).collect()
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(digest: &str) -> Result<Self, InvalidDigest> {
        Self::parse(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Digest in a descriptor, whose algorithm need not be supported here.
///
/// ```
/// use registry_core::AnyDigest;
///
/// let digest = AnyDigest::parse("blake3:af1349b9f5f9a1a6")?;
/// assert!(digest.known().is_none());
/// assert_eq!(digest.to_string(), "blake3:af1349b9f5f9a1a6");
/// # Ok::<(), registry_core::digest::InvalidDigest>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnyDigest {
    /// A digest with a supported algorithm.
    Known(Digest),
    /// A well-formed digest `algorithm:encoded`, with another algorithm.
    Foreign(Arc<str>),
}

impl AnyDigest {
    /// Parses `algorithm:encoded`. With a supported algorithm, the hash must have the form of that algorithm.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] if it is malformed, but never [`InvalidDigest::UnknownAlgorithm`].
    pub fn parse(digest: &str) -> Result<Self, InvalidDigest> {
        match Digest::parse(digest) {
            Ok(known) => Ok(Self::Known(known)),
            Err(InvalidDigest::UnknownAlgorithm(_)) => Ok(Self::Foreign(digest.into())),
            Err(invalid) => Err(invalid),
        }
    }

    /// Returns the digest, if its algorithm is supported here.
    #[must_use]
    pub const fn known(&self) -> Option<&Digest> {
        match self {
            Self::Known(digest) => Some(digest),
            Self::Foreign(_) => None,
        }
    }
}

impl From<Digest> for AnyDigest {
    fn from(digest: Digest) -> Self {
        Self::Known(digest)
    }
}

impl fmt::Display for AnyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(digest) => digest.fmt(f),
            Self::Foreign(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_prints_as_it_was_read() {
        let sha512 = format!("sha512:{}", "0f".repeat(64));
        for text in [EMPTY, &sha512] {
            assert_eq!(Digest::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
    }

    #[test]
    fn malformed_digests_are_refused() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:abc",
            "sha256:totallywrong",
            "sha256:../../etc/passwd",
            &upper,
            &format!("{EMPTY}0"),
            &EMPTY.replace(':', "::"),
            &format!("sha512:{}", "0".repeat(64)),
        ] {
            assert!(Digest::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_algorithm_is_well_formed_and_foreign() {
        assert_eq!(
            Digest::parse("blake3:00"),
            Err(InvalidDigest::UnknownAlgorithm("blake3".into()))
        );
        assert_eq!(AnyDigest::parse("multihash+base58:Qm=_-").unwrap().known(), None);
        assert!(
            AnyDigest::parse("sha256:00").is_err(),
            "a known algorithm keeps its own form"
        );
        assert!(AnyDigest::parse("a..b:00").is_err());
    }

    #[test]
    fn the_order_is_that_of_the_text() {
        let mut digests: Vec<Digest> = (0..32u8)
            .map(|n| Digest::of(Algorithm::ALL[usize::from(n % 2)], &[n]))
            .collect();
        digests.sort();
        assert!(digests.is_sorted_by_key(Digest::to_string));
    }
}
