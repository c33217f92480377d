//! [`Victim`]: an item that a collection may remove.

use crate::{digest::Digest, name::RepositoryName};
use std::fmt;

/// Item that a run may remove.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Victim {
    /// A manifest of a repository, with its referrer entry.
    Manifest(RepositoryName, Digest),
    /// A blob of a repository, by the digest by which it holds it. The bytes stay.
    Link(RepositoryName, Digest),
    /// Bytes, by the digest by which they are stored.
    Data(Digest),
    /// An empty repository.
    Repository(RepositoryName),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(repository, digest) => write!(f, "manifest {repository}@{digest}"),
            Self::Link(repository, digest) => write!(f, "link {repository}@{digest}"),
            Self::Data(digest) => write!(f, "data {digest}"),
            Self::Repository(repository) => write!(f, "repository {repository}"),
        }
    }
}
