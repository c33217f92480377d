//! [`Event`]: completed operation.

use super::Context;
use crate::{
    digest::Digest,
    media_type::MediaType,
    name::RepositoryName,
    reference::{Reference, Tag},
    storage::Moved,
    upload_id::UploadId,
};

/// Completed or abandoned operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The operation.
    pub context: Context,
    /// Kind of the event, with its details.
    pub kind: EventKind,
}

impl Event {
    /// Combines an operation with what happened. Meant for tests of hooks.
    #[must_use]
    pub const fn new(context: Context, kind: EventKind) -> Self {
        Self { context, kind }
    }
}

/// Kind of an event, with its details. All sizes are in bytes.
///
/// ```
/// use registry_core::hooks::{Event, EventKind};
///
/// fn audit(event: &Event) -> Option<String> {
///     let repository = &event.context.repository;
///     match &event.kind {
///         EventKind::ManifestPushed { digest, size, .. } => {
///             Some(format!("pushed {repository}@{digest}, {size} bytes"))
///         }
///         EventKind::TagDeleted { tag, .. } => Some(format!("deleted {repository}:{tag}")),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A manifest was stored, and tags were moved to it.
    #[non_exhaustive]
    ManifestPushed {
        /// Its digest.
        digest: Digest,
        /// Its media type.
        media_type: MediaType,
        /// Its size.
        size: u64,
        /// True if the repository did not have the manifest before.
        created: bool,
        /// The tags, each with its previous target.
        tags: Vec<Moved>,
    },
    /// A manifest was read with its bytes.
    #[non_exhaustive]
    ManifestPulled {
        /// Its digest.
        digest: Digest,
        /// Its media type.
        media_type: MediaType,
        /// Its size.
        size: u64,
        /// Tag or digest of the request.
        reference: Reference,
    },
    /// A manifest was deleted, with every tag that pointed at it.
    #[non_exhaustive]
    ManifestDeleted {
        /// Its digest.
        digest: Digest,
        /// Its size, if it could be read before.
        size: Option<u64>,
        /// Tags that were deleted with it.
        tags: Vec<Tag>,
    },
    /// A tag was deleted.
    #[non_exhaustive]
    TagDeleted {
        /// The tag.
        tag: Tag,
        /// Digest that it pointed at.
        digest: Digest,
    },
    /// A blob was pushed.
    #[non_exhaustive]
    BlobPushed {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
        /// True if the repository did not hold the blob before. If it is pushed twice at once, both pushes may
        /// report true.
        created: bool,
    },
    /// A blob was mounted from another repository.
    #[non_exhaustive]
    BlobMounted {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
        /// True if the repository did not hold the blob before.
        created: bool,
        /// Source repository.
        from: RepositoryName,
    },
    /// A blob, or a part of it, was opened for reading.
    #[non_exhaustive]
    BlobPulled {
        /// Its digest.
        digest: Digest,
        /// Size of the whole blob.
        size: u64,
        /// Number of its bytes that are read.
        bytes: u64,
    },
    /// A blob was deleted from the repository.
    #[non_exhaustive]
    BlobDeleted {
        /// Its digest.
        digest: Digest,
        /// Its size, if it could be read before.
        size: Option<u64>,
    },
    /// An upload session was opened.
    #[non_exhaustive]
    UploadOpened {
        /// The session.
        upload: UploadId,
    },
    /// Bytes were appended to an upload session.
    #[non_exhaustive]
    UploadAppended {
        /// The session.
        upload: UploadId,
        /// Its size with these bytes.
        size: u64,
        /// Number of bytes that were appended.
        bytes: u64,
    },
    /// An upload session ended, and its bytes are a blob.
    #[non_exhaustive]
    UploadEnded {
        /// The session.
        upload: UploadId,
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob.
        size: u64,
    },
    /// An upload session ended, and its bytes were dropped: the client cancelled it, its blob was refused, or
    /// [`Registry::upkeep`](crate::Registry::upkeep) ended it on behalf of the host, because it had expired.
    #[non_exhaustive]
    UploadAbandoned {
        /// The session.
        upload: UploadId,
        /// Number of bytes that it held, if known.
        size: Option<u64>,
    },
    /// An operation that this hook had let pass was not completed: another hook refused it, it failed, or its
    /// client left.
    Abandoned,
}
