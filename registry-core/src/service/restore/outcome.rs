//! [`Restored`] and [`RestoreError`]: the outcomes of a restore.

use crate::{
    digest::{AnyDigest, Digest},
    error::Error,
    reference::Tag,
    storage::StorageError,
};

/// Result of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Tags that point at it now.
    pub tags: Vec<Tag>,
    /// Manifests that the repository did not have before, children before their parents. Referrers that were deleted
    /// with their subject are among them.
    pub manifests: Vec<Digest>,
    /// Deleted manifests that refer, or may refer, to one of those, and that could not be restored. Their records stay.
    pub left: Vec<NotRestored>,
    /// Reason why a newer record cannot be read. It may be of a later deletion of the same tag or manifest.
    pub unreadable: Option<String>,
}

/// Deleted manifest that was not restored with its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotRestored {
    /// Digest of the manifest. It can be restored by itself, once the reason is settled.
    pub digest: Digest,
    /// Reason why it was not restored.
    pub reason: String,
}

/// Reason why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no record of such a deletion.
    #[error(
        "there is no record of a deletion of {what}; records end with time, with a collection that empties the trash, and permanent deletions leave none"
    )]
    #[non_exhaustive]
    NotDeleted {
        /// The tag, digest or record.
        what: String,
    },
    /// The tag points at another manifest now.
    #[error("the tag {tag} points at {target} now; restore under another tag, or delete this one first")]
    #[non_exhaustive]
    TagMoved {
        /// The tag.
        tag: Tag,
        /// Digest that it points at.
        target: Digest,
    },
    /// Content that the manifest needs is gone: its deletion was permanent, or another program has removed it.
    #[error(
        "content is gone: {}{}; a permanent deletion or another collector has removed it, so that the image has to be pushed again",
        .0.first().map_or_else(String::new, ToString::to_string),
        match .0.len() {
            ..=1 => String::new(),
            all => format!(" and {} more", all - 1),
        }
    )]
    Gone(
        /// Digests of the missing content.
        Vec<AnyDigest>,
    ),
    /// The registry refuses the push that restores it, or the storage failed.
    #[error(transparent)]
    Refused(#[from] Error),
}

impl From<StorageError> for RestoreError {
    fn from(error: StorageError) -> Self {
        Self::Refused(error.into())
    }
}
