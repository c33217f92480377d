//! Storage contracts for the repositories of a registry.
//!
//! There are three planes. [`Storage`] reads, [`Storage::write`] gives the plane that changes content, and
//! [`Storage::admin`] gives the plane for maintenance. A plane that a wrapper does not forward is closed. A
//! storage speaks of blobs, uploads, manifests and tags, never of paths. It knows neither HTTP nor requests.
//!
//! `registry-testkit` has a test for every promise made here, for any backend.

mod content;
mod error;
mod ingest;
mod memory;
mod upload;

pub use self::{
    content::{BlobBody, BlobRead, Content, ContentStream, FileRange, RangeSpec, ReadBlob, StoredManifest},
    error::{BoxError, StorageError},
    ingest::{IngestError, ingest},
    memory::MemoryStorage,
    upload::{IncomingBody, Piece, UploadBody, UploadState, Verified},
};

pub(crate) use ingest::close;

use crate::{
    descriptor::Descriptor,
    digest::Digest,
    hash::{Checkpoint, Hasher},
    media_type::MediaType,
    name::RepositoryName,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    fmt::Debug,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::SystemTime,
};

/// Result of most calls of a storage.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// One page of a listing: at most `limit` items that sort after `after`, in byte order of the whole name.
///
/// `after` need not exist. A page is found by seeking, so its cost does not grow with its position.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a, K> {
    /// Exclusive lower bound.
    pub after: Option<&'a K>,
    /// Maximum number of items. With 0 the page is empty, and [`more`](Listing::more) is false.
    pub limit: usize,
}

/// The items of one page.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// Items, in byte order.
    pub items: Vec<T>,
    /// True if at least one item sorts after the last one of this page.
    pub more: bool,
}

impl<T> Listing<T> {
    /// Takes the first `limit` of `items`, which are in order and begin after the page's lower bound.
    pub fn first(limit: usize, items: impl IntoIterator<Item = T>) -> Self {
        let mut items = items.into_iter();
        let page: Vec<T> = items.by_ref().take(limit).collect();
        Self {
            more: limit > 0 && items.next().is_some(),
            items: page,
        }
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
        }
    }
}

/// A blob: its digest and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobInfo {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Time at which it was stored, by the backend's clock, if known.
    pub modified: Option<SystemTime>,
}

impl BlobInfo {
    /// Describes a blob of `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            modified: None,
        }
    }

    /// Sets the time at which it was stored.
    #[must_use]
    pub fn with_modified(self, modified: Option<SystemTime>) -> Self {
        Self { modified, ..self }
    }
}

/// Reads the repositories of a registry. Writing and maintenance are separate planes.
///
/// # Contract
///
/// - Every call is scoped to a repository. A blob of one repository is not readable through another until it
///   is mounted or pushed there.
/// - `Ok(None)` means that the item does not exist. An outage is an `Err`, never `None`.
/// - A blob appears whole or not at all, regardless of the number of concurrent writers. The bytes under a
///   digest never change. An open reader can read to the end even if the blob is deleted meanwhile.
/// - A blob whose stored size is wrong counts as absent, so that pushing it again repairs it. A backend
///   detects at least a zero-byte file under a digest that is not of the empty string.
/// - Once a write is acknowledged, every handle sees it.
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// Returns the size of a blob, or `None` if the repository does not hold it.
    ///
    /// After `Some`, a client skips the upload of the blob. While a garbage collection runs, this call
    /// therefore counts as use.
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>>;

    /// Opens a blob for reading, whole or in part, and returns the resolved range.
    ///
    /// # Errors
    ///
    /// [`StorageError::RangeUnsatisfiable`] if the range has none of the blob's bytes.
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

    /// Returns the manifests whose `subject` field names `subject`, in the order of their digests.
    ///
    /// With `artifact_type`, only manifests of exactly that type are returned. The type need not be a media
    /// type. Neither the repository nor the subject need exist.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>>;

    /// Returns every repository that exists.
    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Returns repositories that hold a blob.
    ///
    /// A mount without `from` tries them, each after its own pull decision. The result is a hint: it may be
    /// incomplete or empty.
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

    /// Returns the plane for maintenance, which no request can reach.
    fn admin(&self) -> Option<&dyn StorageAdmin> {
        None
    }
}

/// Changes the content of a storage.
///
/// # Contract
///
/// - When the future of `commit`, `put_manifest` or a deletion is dropped, the call finishes or leaves
///   nothing visible.
/// - An upload is data, not a live object: any handle can continue any session. `append`, `rehash` and
///   `commit` compare [`UploadState::version`], so that at most one of two concurrent retries succeeds.
/// - Bytes, offset and hash state change together. Before an append, the session is truncated to its stored
///   offset. Bytes beyond it belong to an append that failed.
/// - No promise depends on a wall clock.
#[async_trait]
pub trait StorageWrite: Send + Sync {
    /// Opens an upload session at offset 0 with the given checkpoint.
    ///
    /// Open sessions count against the bounds of `new`, exactly, even if many are opened at once. A backend
    /// maintains these counts: it does not list sessions to count them.
    ///
    /// The uploader of a session need not outlive the process. After a restart, older sessions count only for
    /// their repository and for the total. Sessions left by another program may count only after maintenance
    /// has found them, so that no request waits for a search.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooManyUploads`]; no session was opened.
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState>;

    /// Returns the state of an upload session, or `None` if this repository has no such session.
    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>>;

    /// Appends the body, if `state.version` is still current. While one append runs, another is refused at
    /// once.
    ///
    /// Offset and checkpoint are stored together, at the end and at least every 16 MiB. They survive the end
    /// of the process, but not a power loss.
    ///
    /// Bytes of a [`closing`](UploadBody::closing) body are stored only after the whole body was received. If
    /// a closing request breaks off, the client sends its whole body again, at the same offset.
    ///
    /// # Errors
    ///
    /// - [`StorageError::UploadUnknown`] if there is no such session.
    /// - [`StorageError::UploadConflict`] if the session is at another offset, sealed or in use. No byte was appended.
    /// - [`StorageError::Body`] if the body broke off. The bytes before that are kept, unless the body was closing.
    /// - [`StorageError::Full`] if there is no space. The session is where it was before, and its new space is freed.
    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState>;

    /// Feeds every byte of a session to `hasher`, from offset 0, and seals the session against further
    /// appends.
    ///
    /// Needed if a session is closed with an algorithm that was not announced, or if its hash state is lost.
    /// The backend hashes while it reads, not on an asynchronous runtime's threads.
    ///
    /// # Errors
    ///
    /// [`StorageError::UploadUnknown`] and [`StorageError::UploadConflict`] as for [`append`](Self::append).
    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)>;

    /// Publishes a session as a blob of this repository, and ends the session.
    ///
    /// The backend compares the size of the stored bytes with `proof.size()`. An existing blob is kept if its
    /// size is right, and replaced otherwise. When the call returns, the blob is durable (unless the backend
    /// was opened otherwise).
    ///
    /// The call is resumable: a retry continues it. A retry for a missing session succeeds if the repository
    /// holds the blob. If that blob has been deleted since, the session is unknown, and the blob is not
    /// restored.
    ///
    /// # Errors
    ///
    /// [`StorageError::UploadUnknown`] and [`StorageError::UploadConflict`] as for [`append`](Self::append);
    /// [`StorageError::Internal`] if the proof is not for this session or not for what is stored.
    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo>;

    /// Ends a session and drops its bytes. Returns false if there is no such session.
    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool>;

    /// Makes a blob of `from` a blob of `to` as well. Returns `None` if `from` does not hold it.
    async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>>;

    /// Stores a manifest and moves its tags.
    ///
    /// References are checked inside the call, under the protection that a garbage collector respects. A blob
    /// whose size differs from its descriptor's is hashed again. A damaged blob counts as absent. An
    /// undamaged one refuses the manifest, unless [`PutManifest::sizes`] is [`SizePolicy::Any`]; then
    /// [`PutOutcome::wrong_sizes`] lists it.
    ///
    /// Then the manifest and its referrer entry appear atomically. Then each tag moves atomically, in byte
    /// order. The first tag that conflicts ends the call: [`PutOutcome::failed`] has the conflict, and
    /// earlier tags stay moved.
    ///
    /// # Errors
    ///
    /// [`StorageError::MissingReferences`] with every missing digest, or [`StorageError::SizeMismatch`].
    /// Nothing was written.
    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome>;

    /// Deletes a tag and nothing else. Returns the digest that it pointed at, or `None` if there was no such
    /// tag.
    ///
    /// # Errors
    ///
    /// [`StorageError::TagConflict`] if the tag does not point where `expect` says.
    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
    ) -> Result<Option<Digest>>;

    /// Deletes a manifest, its referrer entry and every tag that points at it.
    ///
    /// Returns these tags, or `None` if there was no such manifest. Manifests that name it as their subject
    /// stay, and so do indexes that contain it, as with [blobs](Self::delete_blob).
    async fn delete_manifest(&self, repository: &RepositoryName, digest: &Digest)
    -> Result<Option<Vec<Tag>>>;

    /// Removes a blob from this repository only. Returns false if this repository did not hold it.
    ///
    /// A manifest does not protect the blobs that it refers to: it stays, and can no longer be pulled
    /// completely. If a manifest is put while a blob that it needs is deleted, it is refused or stored as if
    /// put before. The caller that decides about deletions has to keep blobs that are in use. This call waits
    /// for nothing.
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool>;
}

/// Lists the stored content and expires uploads, for scrubs, expiry and garbage collection.
#[async_trait]
pub trait StorageAdmin: Send + Sync {
    /// Returns every stored blob of all repositories, including manifests if the backend stores them as
    /// blobs.
    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<BlobInfo>>;

    /// Returns the blobs that a repository holds.
    async fn links(&self, repository: &RepositoryName, page: Page<'_, Digest>) -> Result<Listing<LinkInfo>>;

    /// Returns the manifests of a repository, tagged or not.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<BlobInfo>>;

    /// Returns the open upload sessions of a repository, in the order of their ids.
    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<UploadState>>;

    /// Returns every repository with an open session, including those that do not exist for readers yet.
    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Ends a session as [`cancel`](StorageWrite::cancel) does, if its state is still `seen` and it is not in
    /// use. Returns false otherwise.
    ///
    /// # Errors
    ///
    /// [`StorageError::ReadOnly`] from a read-only handle. Nothing was changed, and its listings still work.
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool>;
}

/// A blob that a repository holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Digest of the blob in this repository.
    pub digest: Digest,
    /// Digest under which it is stored. It differs where registry:2 stored a sha512 blob under its sha256. A
    /// collector marks both.
    pub target: Digest,
}

impl LinkInfo {
    /// Describes the blob `digest`, stored as `target`.
    #[must_use]
    pub const fn new(digest: Digest, target: Digest) -> Self {
        Self { digest, target }
    }
}

/// Properties of an upload when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUpload {
    /// Hash state of zero bytes, in the announced algorithm.
    pub checkpoint: Checkpoint,
    /// Expected digest, if the client announced it when it opened the upload.
    pub expected: Option<Digest>,
    /// Size in bytes, if the client announced it when it opened the upload.
    pub size: Option<u64>,
    /// Maximum numbers of open sessions, including this one.
    pub bounds: UploadBounds,
    /// Uploader that the session counts for. `None` for the host itself and for unknown clients.
    pub uploader: Option<Uploader>,
}

/// User or network that an upload session counts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Uploader {
    /// An authenticated user, from any address.
    User(Arc<str>),
    /// All anonymous clients of one network: an IPv4 address, or the first 64 bits of an IPv6 address.
    Network(IpAddr),
}

impl Uploader {
    /// Returns the network of an anonymous client at this address.
    #[must_use]
    pub fn stranger(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// Maximum numbers of upload sessions that may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadBounds {
    /// Maximum number in one repository.
    pub in_repository: usize,
    /// Maximum number in all repositories together.
    pub in_all: usize,
    /// Maximum number for one uploader, in all repositories together.
    pub of_uploader: usize,
}

impl UploadBounds {
    /// No bounds.
    pub const NONE: Self = Self {
        in_repository: usize::MAX,
        in_all: usize::MAX,
        of_uploader: usize::MAX,
    };

    /// Checks that one more session may be opened, given the numbers of open ones. `of_uploader` is 0 if the
    /// uploader is unknown.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooManyUploads`] with the bound that is reached.
    pub const fn admit(&self, in_repository: usize, in_all: usize, of_uploader: usize) -> Result<()> {
        if of_uploader >= self.of_uploader {
            return Err(StorageError::TooManyUploads {
                limit: self.of_uploader,
                scope: "all repositories together by whoever asks",
            });
        }
        if in_repository >= self.in_repository {
            return Err(StorageError::TooManyUploads {
                limit: self.in_repository,
                scope: "this repository",
            });
        }
        if in_all >= self.in_all {
            return Err(StorageError::TooManyUploads {
                limit: self.in_all,
                scope: "all repositories together",
            });
        }
        Ok(())
    }
}

impl NewUpload {
    /// Describes an upload that is hashed with `algorithm`.
    #[must_use]
    pub fn hashed_by(algorithm: crate::digest::Algorithm) -> Self {
        Self {
            checkpoint: Checkpoint::start(algorithm),
            expected: None,
            size: None,
            bounds: UploadBounds::NONE,
            uploader: None,
        }
    }

    /// Sets the uploader that the session counts for.
    #[must_use]
    pub fn by(self, uploader: Option<Uploader>) -> Self {
        Self { uploader, ..self }
    }

    /// Sets the maximum numbers of open sessions.
    #[must_use]
    pub fn within(self, bounds: UploadBounds) -> Self {
        Self { bounds, ..self }
    }

    /// Describes an upload with the expected `digest`, and with `size` bytes if known.
    #[must_use]
    pub fn of(digest: Digest, size: Option<u64>) -> Self {
        Self {
            expected: Some(digest),
            size,
            ..Self::hashed_by(digest.algorithm())
        }
    }
}

/// Required target of a tag before a write.
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
}

impl TagExpect {
    /// Returns true if a tag that points at `current` is as expected.
    #[must_use]
    pub fn admits(&self, current: Option<&Digest>) -> bool {
        match (self, current) {
            (Self::Any, _) | (Self::Absent | Self::AbsentOrIs(_), None) => true,
            (Self::Is(expected) | Self::AbsentOrIs(expected), Some(current)) => expected == current,
            (Self::Absent, Some(_)) | (Self::Is(_), None) => false,
        }
    }
}

/// A tag to move, and its required target before the move.
#[derive(Clone, Debug)]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// Required target before the move.
    pub expect: TagExpect,
}

/// Kind of content that a manifest refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub struct Needed {
    /// Digest of the content.
    pub digest: Digest,
    /// Size that the descriptor gives, in bytes.
    pub size: u64,
    /// Kind of content that is needed.
    pub need: Need,
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

/// Content whose size differs from its descriptor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl PutManifest {
    /// Describes a manifest without tags, needs and subject.
    #[must_use]
    pub const fn new(manifest: Verified<Bytes>, media_type: MediaType) -> Self {
        Self {
            manifest,
            media_type,
            tags: Vec::new(),
            needs: Vec::new(),
            sizes: SizePolicy::Exact,
            referrer: None,
        }
    }
}

/// A tag that was moved, with its previous target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The tag.
    pub tag: Tag,
    /// Digest that it pointed at before.
    pub previous: Option<Digest>,
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

/// Forwards every call and every plane to the shared storage.
#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        (**self).blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        (**self).open_blob(repository, digest, how).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        (**self).manifest(repository, reference).await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        (**self).tags(repository, page).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        (**self).referrers(repository, subject, artifact_type, page).await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        (**self).repositories(page).await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        (**self).holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        (**self).write()
    }

    fn admin(&self) -> Option<&dyn StorageAdmin> {
        (**self).admin()
    }
}
