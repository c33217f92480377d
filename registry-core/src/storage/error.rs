//! [`StorageError`]: the few ways in which a storage says no.

use crate::{digest::Digest, reference::Tag};
use std::{error::Error as StdError, io};

/// Any error, boxed, for sources that only the log reads.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a storage answers when it cannot do as it was told. An outage is never "not found".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No such upload session in this repository: never opened, ended, or expired.
    #[error("the upload session is unknown")]
    UploadUnknown,
    /// The session has moved on, or another append is running; not a byte was appended.
    #[error("the upload session stands at {offset}, and is not where the caller saw it")]
    UploadConflict {
        /// How many bytes the session holds now.
        offset: u64,
    },
    /// As many upload sessions are open as may be; none was opened.
    #[error("{scope} may have {limit} open upload sessions, and has")]
    TooManyUploads {
        /// How many are allowed.
        limit: usize,
        /// Where.
        scope: &'static str,
    },
    /// A tag is not where its [`TagExpect`](super::TagExpect) says; it was not moved.
    #[error("the tag {tag} does not stand where it was expected")]
    TagConflict {
        /// The tag.
        tag: Tag,
        /// Where it points now.
        current: Option<Digest>,
    },
    /// The manifest refers to content that this repository does not hold, or holds damaged.
    #[error("{} referenced blobs or manifests are missing, the first is {}", .0.len(), .0.first().map_or_else(String::new, Digest::to_string))]
    MissingReferences(
        /// What is missing: pushing it again heals it.
        Vec<Digest>,
    ),
    /// The manifest's descriptor of some content gives another size than the content has.
    #[error("{digest} has {stored} bytes, the descriptor says {claimed}")]
    SizeMismatch {
        /// The content, which is whole.
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
    /// The client's body broke off or was not what was announced. What came before it is kept.
    #[error("the body ended early or was not as announced")]
    Body(#[source] BoxError),
    /// This storage has no such power.
    #[error("this storage cannot {0}")]
    Unsupported(&'static str),
    /// This handle reads only; nothing was changed.
    #[error("this storage is open for reading only")]
    ReadOnly,
    /// Nothing can be written until an operator has dealt with it; nothing was changed. Clients may try again later.
    #[error("{context}")]
    Unavailable {
        /// What is wrong, and where; only the log shows it.
        context: String,
    },
    /// There is no room left, by disk or by quota.
    #[error("{context}: no space left")]
    Full {
        /// What was being done, and where.
        context: String,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// There is no room left for another file: the file system has no inodes, though it may have bytes.
    #[error("{context}: no files (inodes) left")]
    OutOfFiles {
        /// What was being done, and where.
        context: String,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// Something else failed. `context` says what and where; only the log shows it.
    #[error("{context}")]
    Internal {
        /// What was being done, and where.
        context: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
}

impl StorageError {
    /// An I/O failure with what was being done; a full disk or quota becomes [`Full`](Self::Full).
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

    /// A failure that is not an I/O error: what was being done, or which promise is broken.
    #[must_use]
    pub fn internal(context: impl Into<String>) -> Self {
        Self::Internal {
            context: context.into(),
            source: None,
        }
    }
}
