//! [`Tag`], and [`Reference`]: a tag or a digest, the last part of a manifest's URL.
//!
//! Specification: "Pulling manifests", the grammar of `<reference>` as a tag; "Referrers Tag Schema".

use crate::digest::{Algorithm, Digest, InvalidDigest};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Maximum length of a tag, in bytes.
pub const MAX_TAG: usize = 128;

/// Maximum number of hexadecimal digits in the tag of a manifest's referrers.
const REFERRERS_DIGITS: usize = 64;

/// Mutable pointer to a manifest, such as `latest`. Tags sort in byte order.
///
/// ```
/// use registry_core::Tag;
///
/// assert_eq!(Tag::parse("1.2-rc")?.as_str(), "1.2-rc");
/// assert!(Tag::parse("team/app:1.2").is_err());
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Error for a string that is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {MAX_TAG} letters, digits, `_`, `.` or `-`, and does not begin with `.` or `-`")]
pub struct InvalidTag;

impl Tag {
    /// Parses a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    ///
    /// # Errors
    ///
    /// [`InvalidTag`] if the grammar does not match.
    pub fn parse(tag: &str) -> Result<Self, InvalidTag> {
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let valid = match tag.as_bytes() {
            [first, rest @ ..] => {
                tag.len() <= MAX_TAG
                    && word(first)
                    && rest.iter().all(|b| word(b) || matches!(b, b'.' | b'-'))
            }
            [] => false,
        };
        if valid {
            Ok(Self(tag.into()))
        } else {
            Err(InvalidTag)
        }
    }

    /// Returns the tag under which clients store an index of a manifest's referrers if a registry does not
    /// list them: `sha256-<hex>`, with at most 64 digits.
    ///
    /// ```
    /// use registry_core::{Digest, Tag};
    ///
    /// let subject = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    /// let tag = Tag::of_referrers(&Digest::parse(subject)?);
    /// assert_eq!(tag.as_str(), subject.replace(':', "-"));
    /// # Ok::<(), registry_core::digest::InvalidDigest>(())
    /// ```
    #[must_use]
    pub fn of_referrers(subject: &Digest) -> Self {
        let hex = subject.hex();
        let digits = hex.get(..REFERRERS_DIGITS).unwrap_or(&hex);
        Self(format!("{}-{digits}", subject.algorithm()).into())
    }

    /// Returns true if it is such a tag.
    #[must_use]
    pub fn is_of_referrers(&self) -> bool {
        self.0.split_once('-').is_some_and(|(algorithm, digits)| {
            algorithm.parse::<Algorithm>().is_ok()
                && digits.len() == REFERRERS_DIGITS
                && digits
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }

    /// Returns the tag as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(tag: &str) -> Result<Self, InvalidTag> {
        Self::parse(tag)
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Reference to a manifest in a repository.
///
/// ```
/// use registry_core::{Reference, Tag};
///
/// assert_eq!(Reference::parse("latest")?, Reference::Tag(Tag::parse("latest")?));
/// assert!(Reference::parse("sha256:too-short").is_err());
/// # Ok::<(), registry_core::reference::InvalidReference>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The manifest that the tag points at now.
    Tag(Tag),
    /// The manifest with this digest.
    Digest(Digest),
}

/// Error for a string that is neither a tag nor a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has no colon, and is not a valid tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// It has a colon, and is not a valid digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Reference {
    /// Parses a reference: with a colon it is a digest, without one a tag.
    ///
    /// # Errors
    ///
    /// [`InvalidReference`] with the expected kind and the reason.
    pub fn parse(reference: &str) -> Result<Self, InvalidReference> {
        if reference.contains(':') {
            Ok(Self::Digest(Digest::parse(reference)?))
        } else {
            Ok(Self::Tag(Tag::parse(reference)?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(reference: &str) -> Result<Self, InvalidReference> {
        Self::parse(reference)
    }
}

impl TryFrom<&str> for Reference {
    type Error = InvalidReference;

    fn try_from(reference: &str) -> Result<Self, InvalidReference> {
        Self::parse(reference)
    }
}

impl TryFrom<&String> for Reference {
    type Error = InvalidReference;

    fn try_from(reference: &String) -> Result<Self, InvalidReference> {
        Self::parse(reference)
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(reference: String) -> Result<Self, InvalidReference> {
        Self::parse(&reference)
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<&Self> for Reference {
    fn from(reference: &Self) -> Self {
        reference.clone()
    }
}

impl From<&Tag> for Reference {
    fn from(tag: &Tag) -> Self {
        Self::Tag(tag.clone())
    }
}

impl From<&Digest> for Reference {
    fn from(digest: &Digest) -> Self {
        Self::Digest(*digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_grammar() {
        for tag in ["latest", "1.2-3", "_x", "A", "v1__", "sha256-44136fa3"] {
            assert_eq!(Tag::parse(tag).unwrap().as_str(), tag);
        }
        for tag in ["", ".", "..", "-a", ".a", "a/b", "a b", "ä", "a\0", "a:b", "a%2e"] {
            assert!(Tag::parse(tag).is_err(), "{tag:?}");
        }
        assert!(Tag::parse(&"x".repeat(128)).is_ok());
        assert!(Tag::parse(&"x".repeat(129)).is_err());
    }

    #[test]
    fn the_tag_of_referrers_is_that_of_the_specification() {
        for algorithm in Algorithm::ALL {
            let subject = Digest::of(algorithm, b"x");
            let tag = Tag::of_referrers(&subject);
            assert_eq!(tag.as_str(), format!("{algorithm}-{}", &subject.hex()[..64]));
            assert_eq!(Tag::parse(tag.as_str()).as_ref(), Ok(&tag));
            assert!(tag.is_of_referrers());
        }
        let hex = "0".repeat(64);
        for tag in [
            "latest".into(),
            format!("sha256-{hex}.sig"),
            format!("sha256_{hex}"),
            format!("md5-{hex}"),
            format!("sha256-{}", hex.replace('0', "A")),
        ] {
            assert!(!Tag::parse(&tag).unwrap().is_of_referrers(), "{tag}");
        }
    }

    #[test]
    fn a_colon_makes_it_a_digest() {
        assert!(matches!(Reference::parse("v1"), Ok(Reference::Tag(_))));
        assert!(matches!(
            Reference::parse("sha256:abc"),
            Err(InvalidReference::Digest(_))
        ));
        assert!(matches!(Reference::parse("a b"), Err(InvalidReference::Tag(_))));
    }
}
