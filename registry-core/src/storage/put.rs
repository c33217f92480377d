//! [`PutManifest`]: a manifest to store with its tags and needs, and the result, [`PutOutcome`].

use super::{error::StorageError, upload::Verified};
use crate::{descriptor::Descriptor, digest::Digest, media_type::MediaType, reference::Tag};
use bytes::Bytes;
use std::sync::Arc;

/// Required target of a tag before a write.
///
/// ```
/// use registry_core::{Algorithm, Digest, storage::TagExpect};
///
/// let [first, second] = [b"1", b"2"].map(|manifest| Digest::of(Algorithm::Sha256, manifest));
///
/// // An immutable tag: it can be created, and put again with the same manifest.
/// let expect = TagExpect::AbsentOrIs(first);
/// assert!(expect.admits(None, None) && expect.admits(Some(&first), None));
/// assert!(!expect.admits(Some(&second), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagExpect {
    /// The tag may point anywhere or be absent.
    Any,
    /// The tag must be absent.
    Absent,
    /// The tag must point at this digest.
    Is(Digest),
    /// The tag must be absent or point at this digest: pushing the same manifest to an immutable tag again
    /// succeeds.
    AbsentOrIs(Digest),
    /// The tag must point at this digest, and must not have been put since it had this version, not even with the same
    /// manifest.
    Unchanged(Digest, TagVersion),
}

impl TagExpect {
    /// Returns true if a tag that points at `current`, and has this version, is as expected. A backend without versions
    /// passes `None`.
    #[must_use]
    pub fn admits(&self, current: Option<&Digest>, version: Option<TagVersion>) -> bool {
        match (self, current) {
            (Self::Any, _) | (Self::Absent | Self::AbsentOrIs(_), None) => true,
            (Self::Is(expected) | Self::AbsentOrIs(expected), Some(current)) => expected == current,
            (Self::Unchanged(expected, seen), Some(current)) => expected == current && version == Some(*seen),
            (Self::Absent, Some(_)) | (Self::Is(_) | Self::Unchanged(..), None) => false,
        }
    }
}

/// Version of a tag, which each put of the tag changes, also one with the manifest that the tag already points at.
///
/// A backend chooses the numbers. It may give a tag another version without a put, and gives no version twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagVersion(u64);

impl TagVersion {
    /// Makes a version of a number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// A tag to move, and its required target before the move.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// Required target before the move.
    pub expect: TagExpect,
}

impl TagMove {
    /// Describes a move from any target.
    #[must_use]
    pub const fn new(tag: Tag) -> Self {
        Self {
            tag,
            expect: TagExpect::Any,
        }
    }

    /// Sets the required target before the move.
    #[must_use]
    pub fn expecting(self, expect: TagExpect) -> Self {
        Self { expect, ..self }
    }
}

/// Kind of content that a manifest refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// A blob of the repository: config and layers.
    Blob,
    /// A manifest of the repository: the entries of an index that are manifests by their media type.
    Manifest,
    /// A blob or a manifest of the repository: the other entries of an index. BuildKit stores a cache as an
    /// index of blobs.
    Either,
}

impl Need {
    /// Returns true if a blob of the repository satisfies the need.
    #[must_use]
    pub const fn admits_blob(self) -> bool {
        match self {
            Self::Blob | Self::Either => true,
            Self::Manifest => false,
        }
    }

    /// Returns true if a manifest of the repository satisfies the need.
    #[must_use]
    pub const fn admits_manifest(self) -> bool {
        match self {
            Self::Manifest | Self::Either => true,
            Self::Blob => false,
        }
    }
}

/// Content that a manifest refers to and that must exist.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Needed {
    /// Digest of the content.
    pub digest: Digest,
    /// Size that the descriptor gives, in bytes.
    pub size: u64,
    /// Kind of content that is needed.
    pub need: Need,
}

impl Needed {
    /// Describes content to which a descriptor gives `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64, need: Need) -> Self {
        Self { digest, size, need }
    }

    /// Compares the size of the stored content. Returns `None` if it is that of the descriptor.
    #[must_use]
    pub fn wrong_size(&self, stored: u64) -> Option<WrongSize> {
        (stored != self.size).then_some(WrongSize {
            digest: self.digest,
            stored,
            claimed: self.size,
        })
    }
}

/// Treatment of content whose size differs from its descriptor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizePolicy {
    /// Refuses the manifest.
    #[default]
    Exact,
    /// Accepts the manifest if the content is undamaged. Damaged content counts as absent.
    Any,
}

/// Content whose size differs from its descriptor's, found by [`Needed::wrong_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongSize {
    /// The content.
    pub digest: Digest,
    /// Its size in bytes.
    pub stored: u64,
    /// The size that the descriptor gives, in bytes.
    pub claimed: u64,
}

impl From<WrongSize> for StorageError {
    fn from(wrong: WrongSize) -> Self {
        Self::SizeMismatch {
            digest: wrong.digest,
            stored: wrong.stored,
            claimed: wrong.claimed,
        }
    }
}

/// A manifest to store, with everything that a backend has to know of it. A backend parses no JSON.
///
/// ```
/// use registry_core::{
///     Algorithm, MediaType, Reference, RepositoryName, Tag,
///     storage::{MemoryStorage, PutManifest, Storage, TagExpect, TagMove, Verified},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let write = storage.write().ok_or("the storage is read-only")?;
/// let repository = RepositoryName::parse("team/app")?;
///
/// let index = Verified::of(Algorithm::Sha256, r#"{"schemaVersion":2,"manifests":[]}"#.into());
/// let mut put = PutManifest::new(index, MediaType::parse(MediaType::OCI_INDEX)?);
/// put.tags = vec![TagMove::new(Tag::parse("v1")?).expecting(TagExpect::Absent)];
///
/// let outcome = write.put_manifest(&repository, put).await?;
/// assert!(outcome.created && outcome.failed.is_none());
/// assert!(storage.manifest(&repository, &Reference::parse("v1")?).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PutManifest {
    /// The document, and the digest it is put under.
    pub manifest: Verified<Bytes>,
    /// Its media type.
    pub media_type: MediaType,
    /// Tags to move to it.
    pub tags: Vec<TagMove>,
    /// Content that must exist.
    pub needs: Vec<Needed>,
    /// Treatment of needed content whose size differs from its descriptor's.
    pub sizes: SizePolicy,
    /// Subject of the manifest, and the descriptor that the subject's referrers listing shows. A backend may
    /// also read both from the document.
    pub referrer: Option<(Digest, Descriptor)>,
    /// Name of the user who puts the manifest, for a backend that keeps a history. `None` for the host itself
    /// and for anonymous clients.
    pub by: Option<Arc<str>>,
    /// True if the put undoes a deletion, so that it is no push: the tags keep the time of their last push.
    pub restores: bool,
}

impl PutManifest {
    /// Describes a manifest of the host without tags, needs and subject.
    #[must_use]
    pub const fn new(manifest: Verified<Bytes>, media_type: MediaType) -> Self {
        Self {
            manifest,
            media_type,
            tags: Vec::new(),
            needs: Vec::new(),
            sizes: SizePolicy::Exact,
            referrer: None,
            by: None,
            restores: false,
        }
    }

    /// Sets the name of the user who puts the manifest.
    #[must_use]
    pub fn by(self, user: Option<Arc<str>>) -> Self {
        Self { by: user, ..self }
    }

    /// Sets if the put undoes a deletion.
    #[must_use]
    pub fn restoring(self, restores: bool) -> Self {
        Self { restores, ..self }
    }
}

/// A tag that was moved, with its previous target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// The tag.
    pub tag: Tag,
    /// Digest that it pointed at before.
    pub previous: Option<Digest>,
}

impl Moved {
    /// Describes a moved tag that pointed at `previous` before.
    #[must_use]
    pub const fn new(tag: Tag, previous: Option<Digest>) -> Self {
        Self { tag, previous }
    }
}

/// Result of storing a manifest: the tags that were moved, and the first one that could not be moved.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PutOutcome {
    /// True if the repository did not have the manifest before.
    pub created: bool,
    /// Tags that were moved, in byte order.
    pub moved: Vec<Moved>,
    /// Tag that could not be moved, with the reason. Tags that sort after it were not tried.
    pub failed: Option<(Tag, StorageError)>,
    /// Content whose size differs from its descriptor's, accepted by [`SizePolicy::Any`].
    pub wrong_sizes: Vec<WrongSize>,
}

impl PutOutcome {
    /// Describes a stored manifest before any tag was moved.
    #[must_use]
    pub const fn of_manifest(created: bool) -> Self {
        Self {
            created,
            moved: Vec::new(),
            failed: None,
            wrong_sizes: Vec::new(),
        }
    }
}
