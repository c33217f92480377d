//! [`RepositoryName`]: `<name>` in the specification, the scope of blobs, manifests and tags.
//!
//! Specification: "Pulling manifests", the grammar of `<name>`.

use std::{borrow::Borrow, convert::Infallible, fmt, str::FromStr, sync::Arc};

/// Maximum length of a repository name, in bytes. It is Docker's limit, and the specification notes that
/// clients limit names to 255.
pub const MAX_NAME: usize = 255;

/// Name of a repository, such as `library/alpine`: lower-case components joined by slashes.
///
/// Names sort in byte order, which is the order of every listing.
///
/// ```
/// use registry_core::RepositoryName;
///
/// let name = RepositoryName::parse("team/app")?;
/// assert_eq!(name.as_str(), "team/app");
/// assert!(RepositoryName::parse("Team/../app").is_err());
/// # Ok::<(), registry_core::name::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

/// Reason for which a string is not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// The name is empty.
    #[error("a repository name is missing")]
    Empty,
    /// The name is longer than [`MAX_NAME`] bytes.
    #[error("a repository name has at most {MAX_NAME} bytes, this one has {0}")]
    TooLong(usize),
    /// A component does not follow the grammar.
    #[error(
        "a repository name is made of lower-case letters and digits, joined by `.`, `_`, `__` or dashes, in components joined by `/`"
    )]
    Grammar,
}

impl RepositoryName {
    /// Parses a name by the specification's grammar, with at most [`MAX_NAME`] bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] with the violated rule.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(InvalidName::TooLong(name.len()));
        }
        if name
            .split('/')
            .all(|component| is_component(component.as_bytes()))
        {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName::Grammar)
        }
    }

    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns true if `bytes` match `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        let run = rest.iter().take_while(|b| is_alphanumeric(**b)).count();
        if run == 0 {
            return false;
        }
        rest = rest.get(run..).unwrap_or_default();
        let separator = match rest {
            [] => return true,
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            [b'-', ..] => rest.iter().take_while(|b| **b == b'-').count(),
            _ => return false,
        };
        rest = rest.get(separator..).unwrap_or_default();
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::parse(name)
    }
}

impl TryFrom<&str> for RepositoryName {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        Self::parse(name)
    }
}

impl TryFrom<&String> for RepositoryName {
    type Error = InvalidName;

    fn try_from(name: &String) -> Result<Self, InvalidName> {
        Self::parse(name)
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::parse(&name)
    }
}

impl From<&Self> for RepositoryName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl From<Infallible> for InvalidName {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl AsRef<str> for RepositoryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RepositoryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_grammar_are_accepted() {
        for name in [
            "a",
            "library/alpine",
            "a.b/c_d/e__f/g--h/i---j",
            "0/1/2",
            "blobs/uploads",
            "manifests",
            "tags/list",
        ] {
            assert_eq!(RepositoryName::parse(name).unwrap().as_str(), name);
        }
        assert!(RepositoryName::parse(&"a".repeat(MAX_NAME)).is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for name in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "_a", "a.", ".", "..",
            "a/../b", "a b", "a\0", "ä", "a:5000/b", "a%2fb", "a\\b",
        ] {
            assert!(RepositoryName::parse(name).is_err(), "{name:?}");
        }
        assert_eq!(
            RepositoryName::parse(&"a".repeat(256)),
            Err(InvalidName::TooLong(256))
        );
    }
}
