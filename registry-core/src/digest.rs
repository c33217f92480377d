//! [`Digest`] and [`Algorithm`]: the names of content, in the algorithms this registry can compute.
//!
//! [`AnyDigest`] is what a descriptor may name, which is more. Computing digests is [`crate::hash`].
//!
//! Specification: image-spec, "Digests".

use std::{fmt, str::FromStr, sync::Arc};

/// A hash algorithm that this registry computes and verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// `sha256`, which every registry must support. The default.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order of their names.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name as digests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of the hash, in bytes; the hexadecimal form has twice as many characters.
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

/// `algorithm:hex`, in an algorithm this registry computes. A claim until something was hashed against it.
///
/// Its order is the byte order of its text.
///
/// ```
/// use registry_core::Digest;
///
/// let empty = Digest::of(registry_core::Algorithm::Sha256, b"");
/// assert_eq!(Digest::parse(&empty.to_string()), Ok(empty));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash; beyond the algorithm's length, zeros.
    raw: [u8; 64],
}

/// Why a string is not a digest that this registry computes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDigest {
    /// Not `algorithm:encoded` at all.
    #[error("a digest reads `algorithm:hex`")]
    Grammar,
    /// Well formed, in an algorithm that is not computed here.
    #[error("the algorithm {0:?} is not supported; sha256 and sha512 are")]
    UnknownAlgorithm(String),
    /// A known algorithm, and not the lower-case hexadecimal form of its hash.
    #[error("a {0} digest has {hex} lower-case hexadecimal characters after the colon", hex = 2 * .0.len())]
    Hex(Algorithm),
}

impl Digest {
    /// Parses `algorithm:hex`, with exactly the algorithm's count of lower-case hexadecimal characters.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] says what is wrong; [`InvalidDigest::UnknownAlgorithm`] is a digest others may know.
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

    /// The digest of `bytes`, computed here.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = crate::hash::Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// A digest from its hash, whose length is the algorithm's.
    pub(crate) fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        debug_assert_eq!(hash.len(), algorithm.len(), "a hash has its algorithm's length");
        let mut raw = [0; 64];
        for (to, from) in raw.iter_mut().zip(hash) {
            *to = *from;
        }
        Self { algorithm, raw }
    }

    /// The algorithm it is computed by.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash itself: [`Algorithm::len`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.get(..self.algorithm.len()).unwrap_or_default()
    }

    /// The part after the colon, in lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        let mut hex = String::with_capacity(2 * self.algorithm.len());
        for byte in self.as_bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// `algorithm:encoded` by the grammar of the image specification, whether or not the algorithm is known.
fn split(digest: &str) -> Option<(&str, &str)> {
    let (algorithm, encoded) = digest.split_once(':')?;
    let word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let encodes = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-');
    (algorithm.split(['+', '.', '_', '-']).all(word) && !encoded.is_empty() && encoded.bytes().all(encodes))
        .then_some((algorithm, encoded))
}

/// At most 32 characters of something a client sent, for a message.
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

/// What a descriptor may name: also algorithms that nobody here can compute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnyDigest {
    /// Computable here.
    Known(Digest),
    /// Well formed, in an unknown algorithm; `algorithm:encoded`.
    Foreign(Arc<str>),
}

impl AnyDigest {
    /// Parses `algorithm:encoded`; a known algorithm must have its own form.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] if it is not well formed; never [`InvalidDigest::UnknownAlgorithm`].
    pub fn parse(digest: &str) -> Result<Self, InvalidDigest> {
        match Digest::parse(digest) {
            Ok(known) => Ok(Self::Known(known)),
            Err(InvalidDigest::UnknownAlgorithm(_)) => Ok(Self::Foreign(digest.into())),
            Err(invalid) => Err(invalid),
        }
    }

    /// The digest, if it can be computed here.
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
