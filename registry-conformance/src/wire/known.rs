//! [`KnownFailures`]: the cases that a registry is known to fail.

use super::cases::cases;
use std::{collections::BTreeSet, str::FromStr};

/// The names of the cases that must fail.
///
/// Text form: one name on each line, sorted between two comments; `#` begins a comment, which states the reason.
///
/// ```
/// use registry_conformance::wire::KnownFailures;
///
/// let known: KnownFailures = "
///     ## Tags are listed in the order of their creation.
///     tags/byte-order
///     tags/n
/// "
/// .parse()?;
/// assert!(known.contains("tags/n"));
///
/// let misspelt = "tags/nn".parse::<KnownFailures>();
/// assert!(misspelt.is_err());
/// # Ok::<(), registry_conformance::wire::InvalidKnownFailures>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KnownFailures {
    names: BTreeSet<String>,
}

/// Reasons why a text is not a list of known failures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKnownFailures {
    /// There is no case of this name, so it cannot fail.
    NoSuchCase(String),
    /// The name occurs twice.
    Twice(String),
    /// The name follows one that it sorts before, in the same group.
    Unsorted(String),
}

impl std::fmt::Display for InvalidKnownFailures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchCase(name) => write!(f, "there is no case {name:?}"),
            Self::Twice(name) => write!(f, "{name:?} is listed twice"),
            Self::Unsorted(name) => write!(f, "{name:?} sorts before the name above it"),
        }
    }
}

impl std::error::Error for InvalidKnownFailures {}

impl KnownFailures {
    /// Returns true if the case of this name must fail.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl FromStr for KnownFailures {
    type Err = InvalidKnownFailures;

    fn from_str(text: &str) -> Result<Self, InvalidKnownFailures> {
        let mut names = BTreeSet::new();
        let mut previous = "";
        for line in text.lines() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if line.trim_start().starts_with('#') {
                previous = "";
            }
            if name.is_empty() {
                continue;
            }
            if !cases().iter().any(|case| case.name() == name) {
                return Err(InvalidKnownFailures::NoSuchCase(name.into()));
            }
            if !names.insert(name.to_owned()) {
                return Err(InvalidKnownFailures::Twice(name.into()));
            }
            if name < previous {
                return Err(InvalidKnownFailures::Unsorted(name.into()));
            }
            previous = name;
        }
        Ok(Self { names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_reasons_and_names() {
        let list: KnownFailures = "# out of order\ntags/n\n\n# the rest\nping/v2 # why\n"
            .parse()
            .unwrap();

        assert!(list.contains("tags/n") && list.contains("ping/v2"));
        assert!(!list.contains("tags/list"));
    }

    #[test]
    fn a_list_cannot_name_what_does_not_exist_or_name_it_twice() {
        use InvalidKnownFailures::{NoSuchCase, Twice, Unsorted};
        let parse = |text: &str| text.parse::<KnownFailures>().unwrap_err();

        assert_eq!(parse("tags/none"), NoSuchCase("tags/none".into()));
        assert_eq!(parse("tags/n\n#\ntags/n"), Twice("tags/n".into()));
        assert_eq!(parse("tags/n\nping/v2"), Unsorted("ping/v2".into()));
    }
}
