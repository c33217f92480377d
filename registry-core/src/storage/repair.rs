//! [`StorageRepair`]: the contract for finding and repairing damage.

use super::{
    error::Result,
    page::{Listing, Page},
};
use crate::{digest::Digest, name::RepositoryName, reference::Tag};
use async_trait::async_trait;
use bytes::Bytes;
use std::{fmt, time::SystemTime};

/// Finds damaged content and damaged records, and repairs them. [`maintenance::verify`](crate::maintenance) drives it.
///
/// # Contract
///
/// - [`check`](Self::check), [`fault`](Self::fault) and the listings change nothing. Read-only storages have them as
///   well; the other calls are then [`ReadOnly`](super::StorageError::ReadOnly).
/// - Content is [`Corrupt`](Checked::Corrupt) only if it was read completely, and read again past every cache, with
///   the same result. A failure to read is [`Unreadable`](Checked::Unreadable). It says nothing about the content.
/// - Content in quarantine is absent for every reader and in every repository, until it is pushed again.
/// - A repair that comes too late changes nothing: content that was pushed again meanwhile stays, and so does a record
///   that is sound again.
///
/// # Cancel safety
///
/// Each future can be dropped at any point. A call that changes something finishes, or changes nothing.
///
/// # Example
///
/// ```
/// use registry_core::{
///     Registry, Storage,
///     storage::{Checked, MemoryStorage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// let blob = registry.repository("team/app")?.push_blob("layer", None).await?;
///
/// let repair = storage.repair().ok_or("this storage cannot be repaired")?;
/// match repair.check(&blob.digest).await? {
///     Checked::Sound { size, .. } => assert_eq!(size, 5),
///     Checked::Corrupt(evidence) => {
///         eprintln!("{}: {}", evidence.place, evidence.reason);
///         repair.quarantine(evidence).await?;
///     }
///     other => eprintln!("{}: {other:?}", blob.digest),
/// }
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageRepair: Send + Sync {
    /// Reads the content stored under a digest, of whichever repository, and compares it with the digest.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`](super::StorageError) if the storage as a whole does not work. A failure with this content
    /// alone is [`Unreadable`](Checked::Unreadable).
    async fn check(&self, digest: &Digest) -> Result<Checked>;

    /// Moves corrupt content to quarantine. Returns false if the stored content is no longer what was checked. It
    /// stays then.
    async fn quarantine(&self, evidence: Evidence) -> Result<bool>;

    /// Returns the items in quarantine.
    async fn quarantined(&self, page: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>>;

    /// Removes an item of the quarantine for good. Returns false if there is no such item.
    async fn remove_quarantined(&self, id: &QuarantineId) -> Result<bool>;

    /// Returns the faulty records of a repository, in order.
    ///
    /// A record that does not exist is in no listing: only [`fault`](Self::fault) reports it as
    /// [`Missing`](FaultKind::Missing) or [`Lost`](FaultKind::Lost).
    async fn faults(&self, repository: &RepositoryName, page: Page<'_, Record>) -> Result<Listing<Fault>>;

    /// Looks at one record that should exist. Returns `None` if it is sound.
    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>>;

    /// Mends a record. Returns false if it needs no repair any more, or cannot be [mended](Fault::mendable).
    ///
    /// A garbled tag is mended by its removal, with a record of its last target in the trash, if that is known. A lost one
    /// points again where it pointed last. Its history has that as a [restored](super::TagEvent::restored) move.
    async fn mend(&self, repository: &RepositoryName, record: &Record) -> Result<bool>;

    /// Returns what [`save_progress`](Self::save_progress) saved last, by whichever process, or `None`.
    async fn saved_progress(&self) -> Result<Option<Vec<u8>>>;

    /// Saves the progress of a verification, so that a later process continues it. It is a hint: a power loss may cost
    /// it.
    async fn save_progress(&self, progress: Vec<u8>) -> Result<()>;
}

/// Outcome of [`StorageRepair::check`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Checked {
    /// The content has the digest.
    #[non_exhaustive]
    Sound {
        /// Its size in bytes.
        size: u64,
    },
    /// The content has another digest.
    Corrupt(Evidence),
    /// The content cannot be read, or is not the same each time it is read.
    #[non_exhaustive]
    Unreadable {
        /// Place of the content, for an operator.
        place: String,
        /// Cause of the failure.
        reason: String,
    },
    /// Nothing is stored under the digest.
    Absent,
}

impl Checked {
    /// Describes sound content of `size` bytes.
    #[must_use]
    pub const fn sound(size: u64) -> Self {
        Self::Sound { size }
    }

    /// Describes content that cannot be read.
    #[must_use]
    pub fn unreadable(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unreadable {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

/// Proof that some stored content is corrupt. It names the very content that was read, and no content that is stored
/// later.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// Digest that the content should have.
    pub digest: Digest,
    /// Place of the content, for an operator.
    pub place: String,
    /// Description of what is there instead.
    pub reason: String,
    /// Identity of the content that was read. Only the backend reads it.
    pub version: Bytes,
}

impl Evidence {
    /// Describes corrupt content at `place`, which `version` identifies.
    #[must_use]
    pub fn new(
        digest: Digest,
        place: impl Into<String>,
        reason: impl Into<String>,
        version: impl Into<Bytes>,
    ) -> Self {
        Self {
            digest,
            place: place.into(),
            reason: reason.into(),
            version: version.into(),
        }
    }
}

/// Name of an item in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct QuarantineId {
    /// Digest that the content should have.
    pub digest: Digest,
    /// Number of the item among those of the digest.
    pub number: u64,
}

impl QuarantineId {
    /// Names an item.
    #[must_use]
    pub const fn new(digest: Digest, number: u64) -> Self {
        Self { digest, number }
    }
}

/// An item in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Name of the item.
    pub id: QuarantineId,
    /// Size in bytes.
    pub size: u64,
    /// Time at which it was moved there, if known.
    pub since: Option<SystemTime>,
    /// Place of the item, for an operator.
    pub place: String,
    /// Description of the damage.
    pub reason: String,
}

impl Quarantined {
    /// Describes an item of `size` bytes at `place`.
    #[must_use]
    pub fn new(id: QuarantineId, size: u64, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            id,
            size,
            since: None,
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// Sets the time at which it was moved to the quarantine.
    #[must_use]
    pub fn with_since(self, since: Option<SystemTime>) -> Self {
        Self { since, ..self }
    }
}

/// A record of a repository: a small item that names content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Record {
    /// The repository holds a blob by this digest.
    Blob(Digest),
    /// The repository has a manifest with this digest.
    Manifest(Digest),
    /// The target of a tag.
    Tag(Tag),
    /// Everything that is derived from the manifests to list referrers.
    Referrers,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Manifest(digest) => write!(f, "manifest {digest}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Referrers => f.write_str("list of referrers"),
        }
    }
}

/// A faulty record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The record.
    pub record: Record,
    /// Kind of the fault.
    pub kind: FaultKind,
    /// Place of the record, for an operator.
    pub place: String,
    /// Description of the fault.
    pub reason: String,
    /// True if [`StorageRepair::mend`] can mend it.
    pub mendable: bool,
}

impl Fault {
    /// Describes a faulty record at `place`.
    #[must_use]
    pub fn new(record: Record, kind: FaultKind, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            record,
            kind,
            place: place.into(),
            reason: reason.into(),
            mendable: false,
        }
    }

    /// Sets whether it can be mended.
    #[must_use]
    pub fn with_mendable(self, mendable: bool) -> Self {
        Self { mendable, ..self }
    }
}

/// Kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The record exists and names nothing, or something else than it should.
    Garbled,
    /// The record does not exist.
    Missing,
    /// The record of a tag does not exist, and nobody is known to have deleted the tag: see
    /// [`lost_tags`](super::StorageTrash::lost_tags).
    Lost,
    /// The record is whole, and the content that it names is not stored.
    Dangling,
    /// The record names what it should, and has the mark of a deletion that has stopped. Other programs may not read it.
    Marked,
    /// The record cannot be read.
    Unreadable,
}
