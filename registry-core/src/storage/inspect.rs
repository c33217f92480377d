//! [`StorageInspect`]: the contract for looking at everything that is stored.

use super::{
    content::{BlobInfo, StoredManifest},
    error::Result,
    page::{Listing, Page},
    put::TagVersion,
    upload::UploadState,
};
use crate::{digest::Digest, name::RepositoryName, reference::Tag, upload_id::UploadId};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::SystemTime;

/// Lists the stored content, for scrubs, expiry, garbage collection and mirrors. It changes nothing, so
/// read-only handles have it as well.
///
/// # Contract
///
/// The listings are strict, because deletions are decided by them: an item that exists and cannot be read is
/// [`Seen::Unreadable`], and a listing that cannot be complete is an `Err`. Nothing is left out, also not what counts as
/// absent for readers: bytes of a wrong size, or the link to a blob whose bytes are gone.
///
/// # Cancel safety
///
/// Inspection changes nothing: each future can be dropped at any point.
///
/// # Example
///
/// ```
/// use registry_core::{
///     Registry, Storage,
///     storage::{MemoryStorage, Page, Seen, StorageError},
/// };
///
/// /// Returns the number of bytes of all readable blobs.
/// async fn stored(storage: &dyn Storage) -> Result<u64, StorageError> {
///     let inspect = storage.inspect().ok_or(StorageError::Unsupported("inspect content"))?;
///     let (mut bytes, mut last) = (0, None);
///     loop {
///         let listing = inspect.blobs(Page::first(1000).after(last.as_ref())).await?;
///         for item in &listing.items {
///             match item {
///                 Seen::Whole(blob) => (bytes, last) = (bytes + blob.size, Some(blob.digest)),
///                 Seen::Unreadable { key, .. } => last = Some(*key),
///                 _ => {}
///             }
///         }
///         if !listing.more {
///             return Ok(bytes);
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// registry.repository("team/app")?.push_blob("content", None).await?;
/// registry.repository("team/other")?.push_blob("content", None).await?;
///
/// // Both repositories share the bytes.
/// assert_eq!(stored(&storage).await?, 7);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageInspect: Send + Sync {
    /// Returns every repository that holds anything, including those that do not exist for readers yet.
    async fn all_repositories(&self, page: Page<'_, RepositoryName>)
    -> Result<Listing<Seen<RepositoryName>>>;

    /// Returns every stored blob of all repositories, including manifests if the backend stores them as
    /// blobs, by the digests by which it stores them: see [`HeldBlob::stored`]. Damaged and empty ones are listed with the
    /// size that they have.
    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>>;

    /// Returns the blobs that a repository holds, also those whose bytes are gone.
    async fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>>;

    /// Returns the manifests of a repository, tagged or not, also those whose bytes are gone.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>>;

    /// Reads a manifest of a repository, and tells a damaged one from one whose content is lost.
    ///
    /// Also reads what a tag points at although the repository has no record of it, as long as its content is there.
    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document>;

    /// Returns the tags of a repository, each with the digest that it points at, and with the time of its last move if
    /// the backend knows it.
    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>>;

    /// Returns the tags that point at a manifest. The cost does not grow with the number of other tags, once
    /// the backend has an index.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`](super::StorageError) if it is not known for each tag whether it does.
    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>>;

    /// Returns every repository with an open upload session, including those that do not exist for readers
    /// yet.
    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>>;

    /// Returns the open upload sessions of a repository, in the order of their ids. Each has the uploader that
    /// [opened](super::StorageWrite::open_upload) it, by whichever handle or process. A session that is open
    /// during the whole listing is on one of the pages.
    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>>;
}

/// Item of a strict listing. `K` is the key by which the listing is ordered and paged.
///
/// ```
/// use registry_core::{Tag, storage::Seen};
///
/// let listed: [Seen<Tag>; 2] = [
///     Seen::Whole(Tag::parse("v1")?),
///     Seen::unreadable(Tag::parse("v2")?, "cannot read /data/v2: permission denied"),
/// ];
/// for item in &listed {
///     if let Seen::Unreadable { key, reason, .. } = item {
///         eprintln!("{key}: {reason}");
///     }
/// }
/// let readable: Vec<Tag> = listed.into_iter().filter_map(Seen::whole).collect();
/// assert_eq!(readable, [Tag::parse("v1")?]);
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen<T, K = T> {
    /// An item that was read.
    Whole(T),
    /// An item that exists and cannot be read.
    #[non_exhaustive]
    Unreadable {
        /// Key of the item.
        key: K,
        /// Cause and place of the failure, for an operator.
        reason: String,
    },
}

impl<T, K> Seen<T, K> {
    /// Describes an item that cannot be read.
    #[must_use]
    pub fn unreadable(key: K, reason: impl Into<String>) -> Self {
        Self::Unreadable {
            key,
            reason: reason.into(),
        }
    }

    /// Returns the item if it was read.
    #[must_use]
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(item) => Some(item),
            Self::Unreadable { .. } => None,
        }
    }

    /// Returns the item if it was read, or else its key with the cause of the failure.
    ///
    /// # Errors
    ///
    /// The key, and the cause for an operator, if the item exists and cannot be read.
    pub fn read(self) -> std::result::Result<T, (K, String)> {
        match self {
            Self::Whole(item) => Ok(item),
            Self::Unreadable { key, reason } => Err((key, reason)),
        }
    }
}

impl<K> Seen<K> {
    /// Returns the key of an item that is its own key.
    #[must_use]
    pub const fn key(&self) -> &K {
        match self {
            Self::Whole(key) | Self::Unreadable { key, .. } => key,
        }
    }
}

/// State of a manifest's content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Document {
    /// The bytes have the digest.
    Whole(StoredManifest),
    /// The bytes have another digest. They may still say what the manifest referred to.
    Damaged(Bytes),
    /// The repository has no such manifest, or its bytes are gone.
    Lost,
}

/// A blob that a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBlob {
    /// Digest by which the repository holds the blob.
    pub digest: Digest,
    /// Digest by which the bytes are stored, usually the same.
    pub stored: Digest,
}

impl HeldBlob {
    /// Describes a blob that a repository holds by this digest, by which its bytes are stored.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self {
            digest,
            stored: digest,
        }
    }

    /// Sets the digest by which the bytes are stored.
    #[must_use]
    pub const fn with_stored(self, stored: Digest) -> Self {
        Self { stored, ..self }
    }
}

/// A manifest that a repository has a record of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldManifest {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest by which the bytes are stored, usually the same.
    pub stored: Digest,
    /// Size in bytes. `None` if the bytes are gone.
    pub size: Option<u64>,
    /// Time at which the bytes were stored, by the backend's clock, if known.
    pub modified: Option<SystemTime>,
    /// Time of the last put in this repository, also of a manifest that it had. `None` if the backend does not know it.
    pub put: Option<SystemTime>,
}

impl HeldManifest {
    /// Describes a manifest whose bytes are gone.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self {
            digest,
            stored: digest,
            size: None,
            modified: None,
            put: None,
        }
    }

    /// Sets the digest by which the bytes are stored.
    #[must_use]
    pub const fn with_stored(self, stored: Digest) -> Self {
        Self { stored, ..self }
    }

    /// Sets the size of the bytes.
    #[must_use]
    pub const fn with_size(self, size: Option<u64>) -> Self {
        Self { size, ..self }
    }

    /// Sets the time at which the bytes were stored.
    #[must_use]
    pub const fn with_modified(self, modified: Option<SystemTime>) -> Self {
        Self { modified, ..self }
    }

    /// Sets the time of the last put.
    #[must_use]
    pub const fn with_put(self, put: Option<SystemTime>) -> Self {
        Self { put, ..self }
    }
}

/// A tag with its target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagTarget {
    /// The tag.
    pub tag: Tag,
    /// Digest that it points at.
    pub digest: Digest,
    /// Time at which the tag was moved there. `None` if the backend does not know it. A push of the same manifest under
    /// the same tag may count as a move.
    pub moved: Option<SystemTime>,
    /// Version of the tag, for [`TagExpect::Unchanged`](super::TagExpect::Unchanged). `None` if the backend has no
    /// [conditional tags](super::Abilities::conditional_tags), or cannot be written to.
    pub version: Option<TagVersion>,
}

impl TagTarget {
    /// Describes a tag that was moved to a digest at an unknown time.
    #[must_use]
    pub const fn new(tag: Tag, digest: Digest) -> Self {
        Self {
            tag,
            digest,
            moved: None,
            version: None,
        }
    }

    /// Sets the time at which the tag was moved.
    #[must_use]
    pub fn with_moved(self, moved: Option<SystemTime>) -> Self {
        Self { moved, ..self }
    }

    /// Sets the version of the tag.
    #[must_use]
    pub fn with_version(self, version: Option<TagVersion>) -> Self {
        Self { version, ..self }
    }
}
