//! [`StorageError`]: errors of a storage.

use crate::{digest::Digest, error::BoxError, reference::Tag};
use std::io;

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
    UploadConflict {
        /// Number of bytes that the session holds now.
        offset: u64,
    },
    /// A tag does not point where its [`TagExpect`](super::TagExpect) says. It was not changed.
    #[error("the tag {tag} does not have the expected target")]
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
    /// This handle is read-only. Nothing was changed.
    #[error("this storage is open for reading only")]
    ReadOnly,
    /// Writes are impossible until an operator intervenes. Nothing was changed. Clients may retry later.
    #[error("{context}")]
    Unavailable {
        /// Cause and place of the failure. Only the log shows it.
        context: String,
    },
    /// No space is left on the disk or in the quota.
    #[error("{context}: no space left")]
    Full {
        /// Failed operation and its place.
        context: String,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// No further file can be created: the file system has no free inodes, though it may have free space.
    #[error("{context}: no files (inodes) left")]
    OutOfFiles {
        /// Failed operation and its place.
        context: String,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// Any other failure. Only the log shows `context`.
    #[error("{context}")]
    Internal {
        /// Failed operation and its place.
        context: String,
        /// Underlying error.
        #[source]
        source: Option<BoxError>,
    },
}

impl StorageError {
    /// Converts an I/O error during the operation `context`. A full disk or quota becomes
    /// [`Full`](Self::Full).
    #[must_use]
    pub fn io(context: impl Into<String>, source: io::Error) -> Self {
        let context = context.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                context,
                source: source.into(),
            },
            _ => Self::Internal {
                context,
                source: Some(source.into()),
            },
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
