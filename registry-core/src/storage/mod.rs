//! The storage contracts: where a registry keeps its repositories.
//!
//! Three planes. [`Storage`] reads; [`Storage::write`] gives the plane that changes things, [`Storage::admin`]
//! the one for maintenance. What a wrapper does not hand on is closed, not leaked. A storage speaks of blobs,
//! uploads, manifests and tags, never of paths; it knows neither HTTP nor requests.
//!
//! `registry-testkit` has every promise made here as a test, for any backend.

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

/// What most calls of a storage return.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// One page of a listing: at most `limit` items that sort after `after`, in byte order of the whole name.
///
/// `after` need not exist. A page is found by seeking, so its cost does not grow with its position.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a, K> {
    /// Exclusive lower bound.
    pub after: Option<&'a K>,
    /// How many items at most. With 0 there are none, and `more` is false.
    pub limit: usize,
}

/// The items of one page.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// In byte order.
    pub items: Vec<T>,
    /// Whether something sorts after the last item.
    pub more: bool,
}

impl<T> Listing<T> {
    /// The first `limit` of `items`, which are in order and begin after the page's lower bound.
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
    /// The digest it is known by.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// When it was stored, by the backend's clock, if it knows.
    pub modified: Option<SystemTime>,
}

impl BlobInfo {
    /// A blob of `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            modified: None,
        }
    }

    /// With the time it was stored.
    #[must_use]
    pub fn with_modified(self, modified: Option<SystemTime>) -> Self {
        Self { modified, ..self }
    }
}

/// Where a registry keeps its repositories. Reading; writing and maintenance are planes of their own.
///
/// # Contract
///
/// - Every call is scoped to a repository: a blob held by one is not readable through another until it is
///   mounted or pushed there.
/// - `Ok(None)` says that it is not there; an outage is an `Err`, never `None`.
/// - A blob appears whole or not at all, however many writers race for it. The bytes under a digest never
///   change. What is being read stays readable to its end even if it is deleted meanwhile.
/// - A blob whose stored size is wrong counts as absent (a zero-byte file for a digest that is not of the
///   empty string, at least), so that a re-push heals it.
/// - After a write was acknowledged, every handle sees it.
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// The size of a blob, if the repository holds it.
    ///
    /// `Some` is a promise to a pusher, who will not send the blob: while a collection runs it counts as use.
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>>;

    /// Opens a blob for reading, whole or in part; the range comes back resolved.
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

    /// A manifest, by tag or digest, with its bytes.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>>;

    /// The tags of a repository; `None` if there is no such repository.
    ///
    /// A repository exists from its first manifest on, even if all tags and manifests have gone since.
    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>>;

    /// The manifests whose `subject` is `subject`, by digest; with `artifact_type` only those of exactly that type,
    /// which need not be a media type.
    /// Neither the repository nor the subject need exist.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>>;

    /// Every repository that exists.
    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Repositories that hold a blob: what a mount without `from` may try, each after its own pull decision.
    /// A hint: it may be incomplete, even empty.
    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let _ = (digest, page);
        Ok(Listing::default())
    }

    /// The plane that changes things; `None` makes the storage read-only.
    fn write(&self) -> Option<&dyn StorageWrite> {
        None
    }

    /// The plane for maintenance, never reachable from a request.
    fn admin(&self) -> Option<&dyn StorageAdmin> {
        None
    }
}

/// The plane that changes things.
///
/// # Contract
///
/// - `commit`, `put_manifest` and the deletions finish, or leave nothing visible, when their future is dropped.
/// - Uploads are data, not live objects: any handle can continue any session. `append`, `rehash` and `commit`
///   compare [`UploadState::version`], so two retries cannot both land.
/// - Bytes, offset and hash state are one truth. Before an append the session is cut to its kept offset;
///   bytes beyond it belong to an append that died.
/// - No promise rests on a wall clock.
#[async_trait]
pub trait StorageWrite: Send + Sync {
    /// Opens an upload session, at offset 0 and with the checkpoint it is given.
    ///
    /// Sessions that were opened and have not ended count against the bounds of `new`, exactly, however many are
    /// opened at once. Counting costs no walk: a backend keeps count. Whom a session counts for need not outlive the
    /// process: sessions of before count for nobody, and in their repository and in all. Those that another program has left
    /// may count only from when maintenance has found them, so that nobody waits for a search.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooManyUploads`] with nothing opened.
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState>;

    /// Where a session of this repository stands; `None` if it is not one.
    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>>;

    /// Appends the body. Compare-and-append on `state.version`; while one append runs, another is refused at once.
    ///
    /// Offset and checkpoint are kept together, at the end and at least every 16 MiB. They outlive the process,
    /// not the loss of power.
    ///
    /// Of a body that is [`closing`](UploadBody::closing) the session nothing is kept until it has ended well. A
    /// client whose closing request broke off sends all of it once more, to where it sent it before.
    ///
    /// # Errors
    ///
    /// [`StorageError::UploadUnknown`]; [`StorageError::UploadConflict`] if the session is elsewhere, sealed or
    /// in use, with not a byte appended; [`StorageError::Body`] if the body broke off, with everything before
    /// that kept unless it was closing; [`StorageError::Full`] with the session where it stood before, and the room
    /// given back.
    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState>;

    /// Feeds every byte of a session to `hasher`, from 0, and seals the session: no append follows.
    ///
    /// For a close in an algorithm that was never announced, or of a session whose hash state is lost. The
    /// backend hashes where it reads, off the reactor.
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
    /// The backend measures what is stored and compares it with `proof.size()`. A blob that is there already is
    /// kept if its size is right, and replaced if it is not. Resumable: a retry goes on, and a missing session
    /// whose digest the repository holds by then is a success; one whose blob has been published and is gone again is
    /// unknown, and nothing comes back. After it returned, the blob survives the loss of
    /// power (unless the backend was opened otherwise).
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

    /// Ends a session and drops its bytes; false if there is none.
    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool>;

    /// Makes a blob of `from` a blob of `to` as well; `None` if `from` does not hold it.
    async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>>;

    /// Puts a manifest with its tags.
    ///
    /// References are checked inside the call, under the protection that a collector respects: a blob of
    /// another size than the descriptor's is hashed again; damaged means absent, whole refuses the manifest unless
    /// [`PutManifest::sizes`] is [`SizePolicy::Any`]: then [`PutOutcome::wrong_sizes`] has it.
    /// Then manifest and referrer entry appear atomically, then each tag atomically, in byte order. A tag that
    /// conflicts ends it: [`PutOutcome::failed`] has the conflict, earlier tags stay moved.
    ///
    /// # Errors
    ///
    /// [`StorageError::MissingReferences`] with everything that is missing, and
    /// [`StorageError::SizeMismatch`]; nothing was written.
    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome>;

    /// Deletes a tag, and nothing else; returns what it pointed at, `None` if it was not there.
    ///
    /// # Errors
    ///
    /// [`StorageError::TagConflict`] if the tag is not as expected.
    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
    ) -> Result<Option<Digest>>;

    /// Deletes a manifest, its referrer entry and every tag that points at it; returns those tags, `None` if it
    /// was not there. Manifests that name it as their subject stay, and indexes that have it, as with
    /// [blobs](Self::delete_blob).
    async fn delete_manifest(&self, repository: &RepositoryName, digest: &Digest)
    -> Result<Option<Vec<Tag>>>;

    /// Makes a blob no longer readable through this repository; other repositories keep it. False if it was
    /// not there.
    ///
    /// Manifests do not hold a blob: one that refers to it stays, and can no longer be pulled whole. So a manifest that is
    /// put while a blob that it needs is deleted is refused, or is there as if it had been put before; to keep blobs in
    /// use is for whoever decides about deletions. Here nothing waits for anything.
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool>;
}

/// The plane for maintenance: what is stored, for scrubs, expiry and collection.
#[async_trait]
pub trait StorageAdmin: Send + Sync {
    /// Every stored blob, of whatever repository. Manifests are blobs too where the backend keeps them so.
    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<BlobInfo>>;

    /// The blobs that a repository holds.
    async fn links(&self, repository: &RepositoryName, page: Page<'_, Digest>) -> Result<Listing<LinkInfo>>;

    /// The manifests of a repository, tagged or not.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<BlobInfo>>;

    /// The open upload sessions of a repository, in the order of their ids.
    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<UploadState>>;

    /// Every repository with an open session, whether or not it exists for readers.
    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>>;

    /// Ends a session as [`cancel`](StorageWrite::cancel) does, if it still stands where `seen` says and nobody is
    /// busy with it; false if it does not.
    ///
    /// # Errors
    ///
    /// [`StorageError::ReadOnly`] from a handle that reads only, with nothing changed. Its listings stay open.
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool>;
}

/// A blob that a repository holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkInfo {
    /// What the repository calls it.
    pub digest: Digest,
    /// What it is stored as: another digest where registry:2 kept a sha512 blob under its sha256. Mark both.
    pub target: Digest,
}

impl LinkInfo {
    /// A blob of that name, stored as `target`.
    #[must_use]
    pub const fn new(digest: Digest, target: Digest) -> Self {
        Self { digest, target }
    }
}

/// What is known of an upload when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUpload {
    /// The hash of nothing, in the announced algorithm.
    pub checkpoint: Checkpoint,
    /// The digest it shall have, where the client said so at once.
    pub expected: Option<Digest>,
    /// Its size in bytes, where the client said so at once.
    pub size: Option<u64>,
    /// How many sessions may be open, with it.
    pub bounds: UploadBounds,
    /// Whom it counts for; `None` for the host itself, and for those of whom nothing is known.
    pub uploader: Option<Uploader>,
}

/// Whom an upload session counts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Uploader {
    /// A user, wherever they come from.
    User(Arc<str>),
    /// Strangers of one network: an address, in IPv6 the first 64 bits of it.
    Network(IpAddr),
}

impl Uploader {
    /// A stranger at this address.
    #[must_use]
    pub fn stranger(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// How many upload sessions may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadBounds {
    /// In one repository.
    pub in_repository: usize,
    /// In all repositories together.
    pub in_all: usize,
    /// Of one uploader, in all repositories together.
    pub of_uploader: usize,
}

impl UploadBounds {
    /// Any number.
    pub const NONE: Self = Self {
        in_repository: usize::MAX,
        in_all: usize::MAX,
        of_uploader: usize::MAX,
    };

    /// Whether one more may be opened where so many are; `of_uploader` is 0 where nobody is known.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooManyUploads`] says which bound is reached.
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
    /// An upload that hashes in `algorithm`.
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

    /// The same, counted for somebody.
    #[must_use]
    pub fn by(self, uploader: Option<Uploader>) -> Self {
        Self { uploader, ..self }
    }

    /// The same, where only so many may be open.
    #[must_use]
    pub fn within(self, bounds: UploadBounds) -> Self {
        Self { bounds, ..self }
    }

    /// An upload that shall have `digest`, and `size` bytes where that is known.
    #[must_use]
    pub fn of(digest: Digest, size: Option<u64>) -> Self {
        Self {
            expected: Some(digest),
            size,
            ..Self::hashed_by(digest.algorithm())
        }
    }
}

/// Where a tag must point for a write to go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagExpect {
    /// Anywhere or nowhere.
    Any,
    /// Nowhere.
    Absent,
    /// Here.
    Is(Digest),
    /// Nowhere or here: pushing the same manifest to an immutable tag again succeeds.
    AbsentOrIs(Digest),
}

impl TagExpect {
    /// Whether a tag that points at `current` is as expected.
    #[must_use]
    pub fn admits(&self, current: Option<&Digest>) -> bool {
        match (self, current) {
            (Self::Any, _) | (Self::Absent | Self::AbsentOrIs(_), None) => true,
            (Self::Is(expected) | Self::AbsentOrIs(expected), Some(current)) => expected == current,
            (Self::Absent, Some(_)) | (Self::Is(_), None) => false,
        }
    }
}

/// A tag to move, and from where.
#[derive(Clone, Debug)]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// Where it must point before.
    pub expect: TagExpect,
}

/// As what something is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// As a blob of the repository: config and layers.
    Blob,
    /// As a manifest of the repository: the entries of an index that are manifests by their media type.
    Manifest,
    /// As a blob or a manifest of the repository: the other entries of an index. BuildKit keeps a cache as an index of
    /// blobs.
    Either,
}

impl Need {
    /// Whether a blob of the repository is what is needed.
    #[must_use]
    pub const fn admits_blob(self) -> bool {
        match self {
            Self::Blob | Self::Either => true,
            Self::Manifest => false,
        }
    }

    /// Whether a manifest of the repository is what is needed.
    #[must_use]
    pub const fn admits_manifest(self) -> bool {
        match self {
            Self::Manifest | Self::Either => true,
            Self::Blob => false,
        }
    }
}

/// Something a manifest refers to and that must be there.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Its digest.
    pub digest: Digest,
    /// The size its descriptor gives, in bytes.
    pub size: u64,
    /// As what.
    pub need: Need,
}

/// Treatment of content whose size is not what its descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizePolicy {
    /// Refuses the manifest.
    #[default]
    Exact,
    /// Accepts the manifest if the content is whole. Content that is damaged stays absent.
    Any,
}

/// Content whose descriptor gives another size than it has.
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

/// A manifest to put, with everything a backend has to know of it: it parses no JSON.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PutManifest {
    /// The document, and the digest it is put under.
    pub manifest: Verified<Bytes>,
    /// Its media type.
    pub media_type: MediaType,
    /// Tags that shall point at it.
    pub tags: Vec<TagMove>,
    /// What must be there.
    pub needs: Vec<Needed>,
    /// How exact the sizes of these needs have to be.
    pub sizes: SizePolicy,
    /// The manifest it refers to, and how the listing of that one's referrers shows it. Both are what the document says: a
    /// backend may read them from it.
    pub referrer: Option<(Digest, Descriptor)>,
}

impl PutManifest {
    /// A manifest without tags, needs and subject.
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

/// A tag that was moved, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The tag.
    pub tag: Tag,
    /// What it pointed at before.
    pub previous: Option<Digest>,
}

/// The manifest is in; of its tags, those that were moved, and the first that could not be.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PutOutcome {
    /// Whether the repository did not have the manifest before.
    pub created: bool,
    /// In byte order.
    pub moved: Vec<Moved>,
    /// The tag that ended it; those that sort after it were not tried.
    pub failed: Option<(Tag, StorageError)>,
    /// Content whose descriptor gives another size, accepted by [`SizePolicy::Any`].
    pub wrong_sizes: Vec<WrongSize>,
}

impl PutOutcome {
    /// The manifest is in, no tag has been moved yet.
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

/// A shared storage is the same storage, with every plane.
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
