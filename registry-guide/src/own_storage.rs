//! A storage of your own, step by step.
//!
//! At the end of this page the registry keeps its images in your database, bucket or service, and the contract suite has
//! tested every promise. A whole program is in the workspace, `examples/own_backend.rs`: flat tables, as in a database, in
//! 500 lines.
//!
//! First look for what exists. `registry-storage-fs` is a directory, and [`MemoryStorage`] is for tests. Three wrap others:
//! [`ReadOnlyStorage`], [`PrefixStorage`] and [`FallbackStorage`]. For a wrapper of your own there is
//! [`forward_storage!`](registry_core::forward_storage).
//!
//! # 1. Read
//!
//! [`Storage`] is the plane that reads, and enough for a mirror or for images inside of a program. Seven calls have no default:
//!
//! ```
//! use async_trait::async_trait;
//! use bytes::Bytes;
//! use registry_core::{
//!     Descriptor, Digest, MediaType, Reference, Registry, RepositoryName, Storage, Tag,
//!     storage::{
//!         Abilities, BlobBody, BlobInfo, BlobRead, Content, Listing, Page, ReadBlob, Referring, Result, StorageError,
//!         StoredManifest,
//!     },
//! };
//! use std::collections::BTreeMap;
//!
//! /// Images of one repository, inside of the program.
//! #[derive(Debug)]
//! struct Bundle {
//!     name: RepositoryName,
//!     blobs: BTreeMap<Digest, Bytes>,
//!     manifests: BTreeMap<Digest, (MediaType, Bytes)>,
//!     tags: BTreeMap<Tag, Digest>,
//! }
//!
//! #[async_trait]
//! impl Storage for Bundle {
//!     fn abilities(&self) -> Abilities {
//!         Abilities::none()
//!     }
//!
//!     // Every call is for one repository: a blob of another one is absent.
//!     async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
//!         let found = self.blobs.get(digest).filter(|_| *repository == self.name);
//!         Ok(found.map(|bytes| BlobInfo::new(*digest, bytes.len() as u64)))
//!     }
//!
//!     // A body is bytes, a stream, a file, or a redirect to a bucket.
//!     async fn open_blob(&self, repository: &RepositoryName, digest: &Digest, how: ReadBlob) -> Result<Option<BlobRead>> {
//!         let Some(info) = self.blob(repository, digest).await? else {
//!             return Ok(None);
//!         };
//!         let range = how.resolve(info.size)?;
//!         let part = self.blobs[digest].slice(range.start as usize..range.end as usize);
//!         Ok(Some(BlobRead::new(info, range, BlobBody::Content(Content::bytes(part)))))
//!     }
//!
//!     async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<StoredManifest>> {
//!         let digest = match reference {
//!             Reference::Digest(digest) => Some(digest),
//!             Reference::Tag(tag) => self.tags.get(tag),
//!         };
//!         let digest = digest.filter(|_| *repository == self.name);
//!         Ok(digest.and_then(|digest| {
//!             let (media_type, bytes) = self.manifests.get(digest)?;
//!             Some(StoredManifest::new(*digest, media_type.clone(), bytes.clone()))
//!         }))
//!     }
//!
//!     // Pages are in the order of the keys. `None` is for a repository that does not exist.
//!     async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
//!         let tags = self.tags.keys().filter(|tag| page.after.is_none_or(|after| *tag > after));
//!         Ok((*repository == self.name).then(|| Listing::first(page.limit, tags.cloned())))
//!     }
//!
//!     async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
//!         let name = Some(&self.name).filter(|name| page.after.is_none_or(|after| *name > after));
//!         Ok(Listing::first(page.limit, name.cloned()))
//!     }
//!
//!     async fn referrers(&self, _: &RepositoryName, _: Referring<'_>, _: Page<'_, Digest>) -> Result<Listing<Descriptor>> {
//!         Ok(Listing::default())
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let layer = Bytes::from_static(b"layer");
//! # let digest = Digest::of(registry_core::Algorithm::Sha256, &layer);
//! # let name = RepositoryName::parse("team/app")?;
//! # let bundle = Bundle { name, blobs: [(digest, layer)].into(), manifests: BTreeMap::new(), tags: BTreeMap::new() };
//! let registry = Registry::builder(bundle).build();
//! let pull = http::Request::get(format!("/v2/team/app/blobs/{digest}")).header("range", "bytes=1-2");
//! let response = registry.handle(pull.body(String::new())?).await;
//! assert_eq!(response.status(), 206);
//! # assert_eq!(http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes(), "ay");
//! # let push = http::Request::post("/v2/team/app/blobs/uploads/").body(String::new())?;
//! # assert!(registry.handle(push).await.status().is_client_error());
//! # Ok(())
//! # }
//! ```
//!
//! - `Ok(None)` means that the item does not exist. If you cannot tell, return a [`StorageError`]: clients would upload a
//!   blob again, or report that an image is gone.
//! - [`StorageError::unavailable`] is for an outage that passes, [`StorageError::io`] and [`StorageError::internal`] are for
//!   everything else. Clients see no details, the log has them.
//! - Each future may be dropped at any point, because clients disconnect.
//!
//! # 2. Test
//!
//! Declare the suite before you write. Each promise is a test of its own, and what is not written fails:
//!
//! ```toml
//! [dev-dependencies]
//! registry-conformance = "0.1"
//! ```
//!
//! ```
//! use registry_conformance::{storage::Backend, storage_tests};
//! use registry_core::storage::MemoryStorage as Database;
//! use std::sync::Arc;
//!
//! /// Two handles on the same, empty tables, as two processes have them.
//! async fn database() -> Backend {
//!     let first = Database::new();
//!     let second = first.clone();
//!     Backend::new(Arc::new(first), Arc::new(second))
//! }
//!
//! storage_tests!(database);
//! # fn main() {
//! #     use registry_conformance::storage::{isolation, run};
//! #     run(database, isolation::a_blob_of_one_repository_is_absent_from_another);
//! # }
//! ```
//!
//! Run a group with `cargo test storage_contract::uploads`. The suite writes what it reads, so it needs the next step; until
//! then, test through [`Registry::handle`], as above.
//!
//! # 3. Write
//!
//! [`StorageWrite`] is behind [`Storage::write`]. Write the calls in this order:
//!
//! | call | what matters |
//! |---|---|
//! | `open_upload`, `upload` | The id is yours or [`NewUpload`]'s. Store the checkpoint of the hash and the uploader with the session |
//! | `append` | Compare the version of the session, then take pieces from the body. Store bytes, offset and checkpoint together |
//! | `commit` | Compare your number of bytes with `proof.size()`, publish the blob whole, then end the session. A retry succeeds |
//! | `put_manifest` | One transaction: check all references, store the manifest, its referrer entry and the tags |
//! | `mount` | Another repository has the blob, too. No bytes move |
//! | `delete_tag`, `delete_manifest`, `delete_blob` | Deleting a manifest removes its tags. Deleting a blob is for one repository |
//! | `rehash`, `cancel` | Read a session from its beginning; drop it |
//!
//! The core hashes, and nothing else can make the proof of `commit`. This is the loop of each `append`:
//!
//! ```
//! use registry_core::storage::{Result, StorageError, UploadBody, UploadState};
//! use std::io::Write;
//!
//! async fn append(mut state: UploadState, body: &mut UploadBody<'_>, session: &mut impl Write) -> Result<UploadState> {
//!     let mut hasher = body.take_hasher()?;
//!     while let Some(piece) = body.next(256 << 10).await? {
//!         // Hash and write on a thread that may block, if your runtime has one.
//!         piece.hash(&mut hasher)?;
//!         for chunk in piece.chunks() {
//!             session.write_all(chunk).map_err(|error| StorageError::io("cannot write an upload", error))?;
//!         }
//!         // Store these two with the session, at least every 16 MiB.
//!         state.offset = hasher.offset();
//!         state.checkpoint = hasher.checkpoint();
//!     }
//!     body.return_hasher(hasher);
//!     Ok(state)
//! }
//! ```
//!
//! A body with [`closing`](registry_core::storage::UploadBody::closing) counts only once it is committed: a client sends it
//! again as a whole. If the client disconnects, `next` returns an error, and what was stored stays.
//!
//! # 4. Declare abilities
//!
//! The service relies on nothing that [`Storage::abilities`] does not declare. Begin with none, and add those that are true:
//!
//! | ability | declare it if | what it allows |
//! |---|---|---|
//! | `exclusive` | no other process writes | counts and caches in this process are exact |
//! | `conditional_tags` | a tag moves by compare-and-swap | immutable tags, `If-Match`, `overwrite` in access rules |
//! | `shared_sessions` | any process continues any upload | replicas behind a balancer without sticky sessions |
//! | `durable` | a 201 survives a power loss | clients may delete what they have pushed |
//! | `redirects` | blobs have URLs of their own | `open_blob` answers with a redirect |
//! | `holders` | you can list who has a blob, such as by [`RecentHolders`](registry_core::storage::RecentHolders) | mounts without a source |
//! | `min_chunk` | small parts are expensive | clients are told to send larger ones |
//!
//! The suite tests each ability that you declare, and that the others are refused.
//!
//! # 5. Add planes
//!
//! Each plane is an accessor that is `None` by default. A registry works without them, and lacks this:
//!
//! | plane | without it |
//! |---|---|
//! | [`inspect`](Storage::inspect) and [`expire`](Storage::expire) | abandoned uploads stay, and count towards the limits |
//! | [`collect`](Storage::collect) | content that nothing refers to stays; remove it by your own means |
//! | [`repair`](Storage::repair) | no verification |
//! | [`health`](Storage::health) | health checks only know that the process runs |
//! | [`trash`](Storage::trash) | deletions cannot be undone |
//!
//! Name each plane after the factory, and its part of the suite runs: `storage_tests!(database, inspect, expire)`. A plane that
//! you have and do not name fails a test.

#[cfg(doc)]
use registry_core::{
    Registry, Storage, StorageWrite,
    storage::{FallbackStorage, MemoryStorage, NewUpload, PrefixStorage, ReadOnlyStorage, StorageError},
};
