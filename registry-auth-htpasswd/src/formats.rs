//! [`Formats`]: the kinds of hashes with which users can log in.

use crate::hash::Kind;
use std::collections::BTreeSet;

/// Kinds of hashes that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formats(BTreeSet<Kind>);

impl Formats {
    /// Returns true if users with a hash of this kind can log in.
    pub(crate) fn accept(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

impl Default for Formats {
    /// Accepts all kinds.
    fn default() -> Self {
        Kind::ALL.into_iter().collect()
    }
}

impl FromIterator<Kind> for Formats {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Self {
        Self(kinds.into_iter().collect())
    }
}
