//! [`Mount`]: a blob of one repository to make available in another.

use crate::{digest::Digest, name::RepositoryName};
use std::sync::Arc;

/// Blob of one repository that becomes a blob of another one as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount<'a> {
    /// Repository that holds the blob.
    pub from: &'a RepositoryName,
    /// Digest of the blob.
    pub digest: &'a Digest,
    /// Name of the user who mounts it, for a backend that keeps a history. `None` for the host itself and for
    /// anonymous clients.
    pub by: Option<Arc<str>>,
}

impl<'a> Mount<'a> {
    /// Describes a mount by the host of a blob that `from` holds.
    #[must_use]
    pub const fn new(from: &'a RepositoryName, digest: &'a Digest) -> Self {
        Self {
            from,
            digest,
            by: None,
        }
    }

    /// Sets the name of the user who mounts the blob.
    #[must_use]
    pub fn by(self, user: Option<Arc<str>>) -> Self {
        Self { by: user, ..self }
    }
}
