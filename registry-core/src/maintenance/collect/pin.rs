//! [`Pin`]: something that cannot be read, and keeps what it may refer to.

use crate::{
    digest::Digest, maintenance::denied::is_denied, name::RepositoryName, reference::Tag, storage::TrashId,
    upload_id::UploadId,
};
use std::fmt;

/// Something that cannot be read, and therefore keeps everything that it may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// Repository that it is in.
    pub repository: RepositoryName,
    /// Item that cannot be read.
    pub cause: PinCause,
    /// Failure, for an operator.
    pub reason: String,
}

impl Pin {
    pub(super) fn new(repository: &RepositoryName, cause: PinCause, reason: String) -> Self {
        Self {
            repository: repository.clone(),
            cause,
            reason,
        }
    }

    /// Returns true if only permissions prevent reading.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        is_denied(&self.reason)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            repository,
            cause,
            reason,
        } = self;
        match cause {
            PinCause::Damage(digest) => write!(f, "{repository}@{digest}: cannot understand the manifest")?,
            PinCause::Bytes(digest) => write!(f, "{repository}@{digest}: cannot read the manifest")?,
            PinCause::Record(digest) => write!(f, "{repository}@{digest}: cannot read the link")?,
            PinCause::Tag(tag) => write!(f, "{repository}:{tag}: cannot read the tag")?,
            PinCause::Session(id) => write!(f, "{repository}: cannot read the upload session {id}")?,
            PinCause::Deleted(id) => write!(f, "{repository}: cannot read the record of the deletion {id}")?,
            PinCause::Link(digest) => write!(f, "{repository}@{digest}: cannot read the link of the blob")?,
        }
        write!(f, ": {reason}")
    }
}

/// Item that cannot be read, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinCause {
    /// A manifest whose bytes are damaged. It keeps everything in the repository. One that is intact, but no document of
    /// a known kind, keeps the content whose digests are in it.
    Damage(Digest),
    /// A manifest whose bytes are gone or cannot be read. It keeps everything in the repository.
    Bytes(Digest),
    /// The record of a manifest. It keeps everything in the repository.
    Record(Digest),
    /// A tag. It keeps everything in the repository.
    Tag(Tag),
    /// An upload session, which may be committing any blob. It keeps everything in the repository.
    Session(UploadId),
    /// The record of a deletion. It keeps everything in the repository, and all bytes of the storage.
    Deleted(TrashId),
    /// The link of a blob. It keeps itself, and the bytes of that digest. If that is not a sha256 digest, the link may
    /// lead to any bytes: it keeps all bytes of the storage.
    Link(Digest),
}
