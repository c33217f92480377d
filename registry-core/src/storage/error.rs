//! [`StorageError`]: errors of a storage.

use crate::{digest::Digest, error::BoxError, reference::Tag};
use std::{fmt, io, time::Duration};

/// Result of most calls of a storage.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Failure of a call of a storage. An outage is never reported as "not found".
///
/// ```
/// use registry_core::storage::StorageError;
/// use std::io;
///
/// // A backend names the failed operation and its place.
/// let failed = StorageError::io("cannot read /data/blob", io::ErrorKind::PermissionDenied.into());
/// assert!(matches!(failed, StorageError::Internal { .. }));
///
/// // A full disk is an error of its own.
/// let full = StorageError::io("cannot write /data/blob", io::ErrorKind::StorageFull.into());
/// assert!(matches!(full, StorageError::Full { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No such upload session in this repository: never opened, ended, or expired.
    #[error("the upload session is unknown")]
    UploadUnknown,
    /// The session has changed, or another append is running. No byte was appended.
    #[error("the upload session has changed: its offset is {offset}")]
    #[non_exhaustive]
    UploadConflict {
        /// Number of bytes that the session holds now.
        offset: u64,
    },
    /// A tag does not point where its [`TagExpect`](super::TagExpect) says. It was not changed.
    #[error("the tag {tag} does not have the expected target")]
    #[non_exhaustive]
    TagConflict {
        /// The tag.
        tag: Tag,
        /// Digest that it points at now.
        current: Option<Digest>,
    },
    /// The manifest refers to content that this repository does not hold, or holds damaged.
    #[error("{} referenced blobs or manifests are missing, the first is {}", .0.len(), .0.first().map_or_else(String::new, Digest::to_string))]
    MissingReferences(
        /// Digests of the missing content. Pushing it again repairs the repository.
        Vec<Digest>,
    ),
    /// The size of some content differs from the size in its descriptor.
    #[error("{digest} has {stored} bytes, but its descriptor gives {claimed}")]
    #[non_exhaustive]
    SizeMismatch {
        /// Digest of the content, which is undamaged.
        digest: Digest,
        /// Its size in bytes.
        stored: u64,
        /// The size in the descriptor, in bytes.
        claimed: u64,
    },
    /// A range begins at or beyond the end of the blob.
    #[error("the range begins beyond the {size} bytes of the blob")]
    #[non_exhaustive]
    RangeUnsatisfiable {
        /// The size of the blob, in bytes.
        size: u64,
    },
    /// The client's body broke off or differs from what was announced. The bytes before that are kept.
    #[error("the body ended early or was not as announced")]
    Body(#[source] BoxError),
    /// This storage does not support the operation.
    #[error("this storage cannot {0}")]
    Unsupported(&'static str),
    /// The name of the repository is too long for this storage. Nothing was changed.
    #[error("the repository name is longer than {limit} bytes, the maximum of this storage")]
    #[non_exhaustive]
    NameTooLong {
        /// Maximum length in bytes.
        limit: usize,
    },
    /// This handle is read-only. Nothing was changed.
    #[error("this storage is open for reading only")]
    ReadOnly,
    /// The storage does not allow the operation by a rule of its own, such as a retention lock. Nothing was
    /// changed.
    #[error("{context}")]
    #[non_exhaustive]
    Denied {
        /// Operation, place and rule. Only the log shows it.
        context: String,
    },
    /// The operation is impossible for now, often until an operator intervenes. Nothing was changed. Clients may
    /// retry later.
    #[error("{context}")]
    #[non_exhaustive]
    Unavailable {
        /// Time after which a retry may succeed, if known.
        retry_after: Option<Duration>,
        /// Cause and place of the failure. Only the log shows it.
        context: String,
        /// Underlying error.
        #[source]
        source: Option<BoxError>,
    },
    /// A collection is running, and there is only one at a time.
    #[error("another collection is running: {holder}")]
    #[non_exhaustive]
    Busy {
        /// Description of the other collection, for an operator.
        holder: String,
    },
    /// The storage is full.
    #[error("{context}: no {what} left")]
    #[non_exhaustive]
    Full {
        /// The resource that is used up.
        what: Resource,
        /// Failed operation and its place.
        context: String,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// Any other failure. Only the log shows `context`.
    #[error("{context}")]
    #[non_exhaustive]
    Internal {
        /// Failed operation and its place.
        context: String,
        /// Underlying error.
        #[source]
        source: Option<BoxError>,
    },
}

/// Resource of a storage that can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Space of the disk or bucket.
    Bytes,
    /// Files. A file system without free inodes may still have free space.
    Files,
    /// The quota of the user, directory or bucket.
    Quota,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "space",
            Self::Files => "files (inodes)",
            Self::Quota => "quota",
        })
    }
}

impl StorageError {
    /// Describes a session that now holds `offset` bytes, or is in use.
    #[must_use]
    pub const fn upload_conflict(offset: u64) -> Self {
        Self::UploadConflict { offset }
    }

    /// Describes a tag that now points at `current`, and not where it should.
    #[must_use]
    pub const fn tag_conflict(tag: Tag, current: Option<Digest>) -> Self {
        Self::TagConflict { tag, current }
    }

    /// Describes a range that begins beyond the `size` bytes of a blob.
    #[must_use]
    pub const fn range_unsatisfiable(size: u64) -> Self {
        Self::RangeUnsatisfiable { size }
    }

    /// Describes a repository name with more than `limit` bytes.
    #[must_use]
    pub const fn name_too_long(limit: usize) -> Self {
        Self::NameTooLong { limit }
    }

    /// Describes an operation that a rule of the storage does not allow.
    #[must_use]
    pub fn denied(context: impl Into<String>) -> Self {
        Self::Denied {
            context: context.into(),
        }
    }

    /// Describes an operation that is impossible for now. `retry_after` is the time after which a retry may
    /// succeed.
    #[must_use]
    pub fn unavailable(
        context: impl Into<String>,
        retry_after: Option<Duration>,
        source: Option<BoxError>,
    ) -> Self {
        Self::Unavailable {
            retry_after,
            context: context.into(),
            source,
        }
    }

    /// Describes a storage in which `holder` is collecting.
    #[must_use]
    pub fn busy(holder: impl Into<String>) -> Self {
        Self::Busy {
            holder: holder.into(),
        }
    }

    /// Describes a storage in which `what` is used up.
    #[must_use]
    pub fn full(what: Resource, context: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Full {
            what,
            context: context.into(),
            source: source.into(),
        }
    }

    /// Describes a failure by another error, which only the log shows.
    #[must_use]
    pub fn failed(context: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Internal {
            context: context.into(),
            source: Some(source.into()),
        }
    }

    /// Converts an I/O error during the operation `context`. A full disk or quota becomes
    /// [`Full`](Self::Full).
    #[must_use]
    pub fn io(context: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull => Self::full(Resource::Bytes, context, source),
            io::ErrorKind::QuotaExceeded => Self::full(Resource::Quota, context, source),
            _ => Self::failed(context, source),
        }
    }

    /// Describes a failure that is not an I/O error, such as a violated contract.
    #[must_use]
    pub fn internal(context: impl Into<String>) -> Self {
        Self::Internal {
            context: context.into(),
            source: None,
        }
    }
}
