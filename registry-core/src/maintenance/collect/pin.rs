//! [`Pin`]: something that cannot be read or was lost, and keeps what it may refer to.

use crate::{
    digest::Digest,
    maintenance::denied::is_denied,
    name::RepositoryName,
    reference::Tag,
    storage::{StorageError, TrashId},
    upload_id::UploadId,
};
use std::{error::Error as _, fmt};

/// Something that cannot be read or was lost, and therefore keeps everything that it may refer to.
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
            PinCause::LostTag(tag) => write!(f, "{repository}:{tag}: the tag is lost")?,
            PinCause::History(tag) => write!(f, "{repository}:{tag}: cannot read the history of the tag")?,
            PinCause::Histories => write!(f, "{repository}: cannot read the histories of its tags")?,
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
    /// A tag that does not exist, and that nobody is known to have deleted. It keeps the manifest that it pointed at. If the
    /// repository does not have that, it keeps everything in the repository, and all bytes of the storage.
    LostTag(Tag),
    /// The history of a tag that does not exist. It keeps everything in the repository, and all bytes of the storage.
    History(Tag),
    /// The histories of all tags in a repository. They keep everything in the repository, and all bytes of the storage.
    Histories,
}

/// Returns the message of an error with its causes.
pub(super) fn text_of(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
