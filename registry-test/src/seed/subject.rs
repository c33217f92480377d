//! [`Subject`]: the manifest that an artifact refers to.

use registry_core::{Digest, Reference};
use std::{collections::BTreeMap, fmt};

/// Manifest that an artifact refers to: its digest, or its name.
///
/// It is in the repository of the artifact. A name is `app:v1`, as in a seed, or only the tag `v1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

/// Descriptors of subjects, in JSON.
pub(super) type Subjects = BTreeMap<Subject, String>;

impl Subject {
    /// Returns its reference within `repository`, unless it is the name of something elsewhere.
    pub(super) fn within(&self, repository: &str) -> Option<Reference> {
        let own = self.0.strip_prefix(repository);
        let own = own.and_then(|rest| rest.strip_prefix([':', '@']));
        Reference::parse(own.unwrap_or(&self.0)).ok()
    }
}

impl From<&str> for Subject {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<String> for Subject {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<Digest> for Subject {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl From<&Digest> for Subject {
    fn from(digest: &Digest) -> Self {
        Self(digest.to_string())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
