//! [`StorageWrite`]: the contract for changing content.

use super::{
    content::BlobInfo,
    deletion::Deletion,
    error::Result,
    mount::Mount,
    new_upload::NewUpload,
    put::{PutManifest, PutOutcome, TagExpect},
    upload::{UploadBody, UploadState, Verified},
};
use crate::{digest::Digest, hash::Hasher, name::RepositoryName, reference::Tag, upload_id::UploadId};
use async_trait::async_trait;

/// Changes the content of a storage.
///
/// # Contract
///
/// - An upload is data, not a live object: any handle can continue any session. `append`, `rehash` and
///   `commit` compare [`UploadState::version`], so that at most one of two concurrent retries succeeds.
/// - Bytes, offset and hash state change together. Before an append, the session is truncated to its stored
///   offset. Bytes beyond it belong to an append that failed.
/// - No promise depends on a wall clock.
///
/// # Cancel safety
///
/// Each future can be dropped at any point, and the call can be repeated. The work of a dropped call may go on.
///
/// - `commit`, `mount`, `cancel`, `put_manifest` and the deletions finish, or leave nothing visible.
/// - `open_upload` may have opened a session that nobody knows. It is listed, and expires like any other.
/// - `append` leaves the session at an offset at which the next one continues: where it was before, or after some
///   of the bytes. A session whose append goes on for a moment is in use.
/// - `rehash` may have sealed the session. A commit is still possible.
///
/// # Example
///
/// ```
/// use http_body_util::{BodyExt as _, Full};
/// use registry_core::{
///     RepositoryName,
///     storage::{Deletion, MemoryStorage, Mount, Storage, ingest},
/// };
/// use std::pin::pin;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let write = storage.write().ok_or("the storage is read-only")?;
/// let [library, app] = ["library/base", "team/app"].map(RepositoryName::parse);
/// let (library, app) = (library?, app?);
///
/// // Store a blob, mount it in another repository, and delete it in the first one.
/// let body = Full::new(bytes::Bytes::from_static(b"layer")).map_err(Into::into);
/// let blob = ingest(write, &library, pin!(body), None).await?;
/// write.mount(&app, Mount::new(&library, &blob.digest)).await?;
/// write.delete_blob(&library, &blob.digest, Deletion::new()).await?;
///
/// assert!(storage.blob(&library, &blob.digest).await?.is_none());
/// assert!(storage.blob(&app, &blob.digest).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageWrite: Send + Sync {
    /// Opens an upload session at offset 0 with the given checkpoint.
    ///
    /// The session is stored with its uploader, which [`UploadState::opened_by`] returns as long as the session
    /// is open. The service counts open sessions; a backend need not.
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState>;

    /// Returns the state of an upload session, or `None` if this repository has no such session.
    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>>;

    /// Appends the body, if `state.version` is still current. While one append runs, another is refused at
    /// once.
    ///
    /// If the sessions are [shared](super::Abilities::shared_sessions), the state may be one that an earlier call has
    /// returned, although another process has continued the session since. It is refused before more than 256 KiB
    /// of the body are read, so that the service can try again with the current state.
    ///
    /// Offset and checkpoint are stored together, at the end and at least every 16 MiB. They survive the
    /// end of the process, but not a power loss.
    ///
    /// Bytes of a [`closing`](UploadBody::closing) body count only once they are committed. The returned state
    /// includes them, for `rehash` and `commit`. Until the commit, [`upload`](Self::upload) returns the session
    /// as it was before the body, and the next append discards the body. If a closing request breaks off or
    /// fails, the client sends its whole body again, at the same offset.
    ///
    /// # Errors
    ///
    /// - [`UploadUnknown`](super::StorageError::UploadUnknown) if there is no such session.
    /// - [`UploadConflict`](super::StorageError::UploadConflict) if the session is at another offset,
    ///   sealed or in use. No byte was appended.
    /// - [`Body`](super::StorageError::Body) if the body broke off. The bytes before that are kept, unless
    ///   the body was closing.
    /// - [`Full`](super::StorageError::Full) if there is no space. The session is where it was before, and
    ///   its new space is freed.
    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState>;

    /// Feeds every byte of a session to `hasher`, from offset 0, and seals the session against further
    /// appends.
    ///
    /// Needed if a session is closed with an algorithm that was not announced, or if its hash state is
    /// lost. The backend hashes while it reads, not on an asynchronous runtime's threads.
    ///
    /// # Errors
    ///
    /// [`UploadUnknown`](super::StorageError::UploadUnknown) and
    /// [`UploadConflict`](super::StorageError::UploadConflict) as for [`append`](Self::append).
    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)>;

    /// Publishes a session as a blob of this repository, and ends the session.
    ///
    /// The backend compares the size of the stored bytes with `proof.size()`. An existing blob is kept if
    /// its size is right, and replaced otherwise. When the call returns, the blob is durable (unless the
    /// backend was opened otherwise).
    ///
    /// The call is resumable: a retry continues it. A retry for a missing session succeeds if the
    /// repository holds the blob. If that blob has been deleted since, the session is unknown, and the
    /// blob is not restored.
    ///
    /// # Errors
    ///
    /// [`UploadUnknown`](super::StorageError::UploadUnknown) and
    /// [`UploadConflict`](super::StorageError::UploadConflict) as for [`append`](Self::append);
    /// [`Internal`](super::StorageError::Internal) if the proof is not for this session or not for what is
    /// stored.
    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo>;

    /// Ends a session and drops its bytes. Returns false if there is no such session.
    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool>;

    /// Makes a blob of another repository a blob of `to` as well. Returns `None` if that repository does not
    /// hold it.
    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>>;

    /// Stores a manifest and moves its tags.
    ///
    /// References are checked inside the call, under the protection that a garbage collector respects. A
    /// blob whose size differs from its descriptor's is hashed again. A damaged blob counts as absent. An
    /// undamaged one refuses the manifest, unless [`PutManifest::sizes`] is
    /// [`Any`](super::SizePolicy::Any); then
    /// [`PutOutcome::wrong_sizes`] lists it.
    ///
    /// Then the manifest and its referrer entry appear atomically. Then each tag moves atomically, in byte
    /// order. The first tag that conflicts ends the call: [`PutOutcome::failed`] has the conflict, and
    /// earlier tags stay moved.
    ///
    /// An expectation other than [`TagExpect::Any`] needs
    /// [`Abilities::conditional_tags`](super::Abilities::conditional_tags).
    ///
    /// # Errors
    ///
    /// [`MissingReferences`](super::StorageError::MissingReferences) with every missing digest,
    /// [`SizeMismatch`](super::StorageError::SizeMismatch), or
    /// [`Unsupported`](super::StorageError::Unsupported) for an expectation of a tag. Nothing was written.
    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome>;

    /// Deletes a tag and nothing else. Returns the digest that it pointed at, or `None` if there was no
    /// such tag. The pointer of a tag can be damaged, so that readers do not see the tag. It is removed, too; the result
    /// is then the last known target.
    ///
    /// # Errors
    ///
    /// [`TagConflict`](super::StorageError::TagConflict) if the tag does not point where `expect` says;
    /// [`Unsupported`](super::StorageError::Unsupported) if the backend has no conditional tags, and
    /// `expect` is a condition.
    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>>;

    /// Deletes a manifest, its referrer entry and every tag that points at it.
    ///
    /// Returns these tags, or `None` if there was no such manifest. A manifest with a damaged record, which readers do not
    /// see, is deleted, too. Manifests that name it as their subject
    /// stay, and so do indexes that contain it, as with [blobs](Self::delete_blob).
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>>;

    /// Removes a blob from this repository only. Returns false if this repository did not hold it.
    ///
    /// A manifest does not protect the blobs that it refers to: it stays, and can no longer be pulled
    /// completely. If a manifest is put while a blob that it needs is deleted, it is refused or stored as
    /// if put before. The caller that decides about deletions has to keep blobs that are in use. This call
    /// waits for nothing.
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool>;
}
