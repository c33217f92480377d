//! [`Storage`]: the contract for reading, and the accessors of the other planes.

use super::{
    abilities::Abilities,
    collect::StorageCollect,
    content::{BlobInfo, BlobRead, ReadBlob, StoredManifest},
    error::Result,
    expire::StorageExpire,
    health::StorageHealth,
    inspect::StorageInspect,
    page::{Listing, Page},
    referring::Referring,
    repair::StorageRepair,
    trash::StorageTrash,
    write::StorageWrite,
};
use crate::{
    descriptor::Descriptor,
    digest::Digest,
    name::RepositoryName,
    reference::{Reference, Tag},
};
use async_trait::async_trait;
use std::fmt::Debug;

/// Reads the repositories of a registry. Everything else is a plane of its own.
///
/// # Contract
///
/// - Every call is scoped to a repository. A blob of one repository is not readable through another until
///   it is mounted or pushed there.
/// - `Ok(None)` means that the item does not exist. An outage is an `Err`, never `None`.
/// - A blob appears whole or not at all, regardless of the number of concurrent writers. The bytes under a
///   digest never change. An open reader can read to the end even if the blob is deleted meanwhile.
/// - A blob whose stored size is wrong counts as absent, so that pushing it again repairs it. A backend
///   detects at least a zero-byte file under a digest that is not of the empty string.
/// - Once a write is acknowledged, every handle sees it.
///
/// # Cancel safety
///
/// Reading changes nothing: each future can be dropped at any point. Work of the backend that has begun may
/// continue.
///
/// # Example
///
/// ```
/// use http_body_util::BodyExt as _;
/// use registry_core::{
///     Digest, RepositoryName, Storage,
///     storage::{BlobBody, ReadBlob, StorageError},
/// };
///
/// /// Reads a blob of any storage into memory.
/// async fn bytes(
///     storage: &dyn Storage,
///     repository: &RepositoryName,
///     digest: &Digest,
/// ) -> Result<Option<bytes::Bytes>, StorageError> {
///     let Some(read) = storage.open_blob(repository, digest, ReadBlob::default()).await? else {
///         return Ok(None);
///     };
///     match read.body {
///         BlobBody::Content(content) => Ok(Some(content.into_stream().collect().await?.to_bytes())),
///         _ => Err(StorageError::internal("a redirect that was not allowed")),
///     }
/// }
///
/// # use registry_core::{Registry, storage::MemoryStorage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registry = Registry::builder(MemoryStorage::new()).build();
/// # let repository = registry.repository("team/app")?;
/// # let blob = repository.push_blob("layer", None).await?;
/// let read = bytes(registry.storage(), repository.name(), &blob.digest).await?;
/// assert_eq!(read.as_deref(), Some(&b"layer"[..]));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// Declares what this backend promises beyond the contract, such as conditional moves of tags.
    fn abilities(&self) -> Abilities;

    /// Returns the size of a blob, or `None` if the repository does not hold it.
    ///
    /// After `Some`, a client skips the upload of the blob. This call therefore counts as use for a
    /// [collection](StorageCollect).
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>>;

    /// Opens a blob for reading, whole or in part, and returns the resolved range.
    ///
    /// # Errors
    ///
    /// [`RangeUnsatisfiable`](super::StorageError::RangeUnsatisfiable) if the range has none of the blob's
    /// bytes.
    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>>;

    /// Returns a manifest with its bytes, by tag or digest.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>>;

    /// Returns the tags of a repository, or `None` if the repository does not exist.
    ///
    /// A repository exists from its first manifest on, even if all its tags and manifests have been deleted
    /// since.
    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>>;

    /// Returns the manifests whose `subject` field names the subject of `of`, in the order of their digests.
    ///
    /// If `of` has an artifact type, only manifests of exactly that type are returned. Neither the repository
    /// nor the subject need exist.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>>;

    /// Returns every repository that exists.
    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Returns repositories that hold a blob.
    ///
    /// A mount without `from` tries them, each after its own pull decision. The result is a hint: it may be
    /// incomplete, and it is empty unless [`Abilities::holders`] is declared. [`RecentHolders`](super::RecentHolders)
    /// is such a hint, in memory.
    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let _ = (digest, page);
        Ok(Listing::default())
    }

    /// Returns the plane that changes content. `None` makes the storage read-only.
    fn write(&self) -> Option<&dyn StorageWrite> {
        None
    }

    /// Returns the plane that lists everything that is stored. Read-only storages have it as well.
    fn inspect(&self) -> Option<&dyn StorageInspect> {
        None
    }

    /// Returns the plane that ends abandoned upload sessions. `None` where [`write`](Self::write) is.
    fn expire(&self) -> Option<&dyn StorageExpire> {
        None
    }

    /// Returns the plane that removes content that nothing refers to. `None` if content of this storage is never
    /// removed, or only by other means.
    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    /// Returns the plane that finds and repairs damage. A read-only storage has it to find damage.
    fn repair(&self) -> Option<&dyn StorageRepair> {
        None
    }

    /// Returns the plane for health checks and gauges.
    fn health(&self) -> Option<&dyn StorageHealth> {
        None
    }

    /// Returns the plane of deleted content and of the history of tags. `None` if deletions are final. Read-only
    /// storages may have it, and refuse to [forget](StorageTrash::forget).
    fn trash(&self) -> Option<&dyn StorageTrash> {
        None
    }
}
