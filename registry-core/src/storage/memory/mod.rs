//! [`MemoryStorage`]: the reference backend, for tests and for registries whose content need not persist.
//!
//! One lock protects plain maps. It is held for map operations only, never across an `await`. This crate has
//! no runtime, so hashing and joining run on the caller's thread. A backend with much hashing moves it
//! elsewhere. A blob is freed when the last repository that holds it deletes it, or by a collection. A deleted
//! manifest stays until its record is forgotten. A repository has at most 1,000 records.

mod append;
mod collect;
mod inspect;
mod repair;
mod repository;
mod state;
mod touches;
mod trash;
mod upload;

use super::{
    Abilities, BlobBody, BlobInfo, BlobRead, Content, Deletion, Listing, Mount, Moved, NewUpload, Page,
    PutManifest, PutOutcome, ReadBlob, Referring, Result, Storage, StorageCollect, StorageError,
    StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash, StorageWrite, StoredManifest,
    SuspectCause, TagExpect, TagMove, UploadBody, UploadState, Verified, Victim,
};
use crate::{
    descriptor::Descriptor,
    digest::Digest,
    hash::Hasher,
    name::RepositoryName,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
use append::Append;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use repository::admit;
use state::{Committable, Shared, State, info};
use std::{
    fmt,
    ops::{Bound, RangeBounds},
    sync::MutexGuard,
};
use trash::Origin;
use upload::Upload;

/// Number of bytes taken from a body at once. A failed append loses at most that much, far below the 16 MiB
/// that the contract allows.
const PIECE: usize = 256 << 10;

/// Content of a registry in memory. Clones are handles to the same content.
///
/// ```
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let (first, second) = (Registry::builder(storage.clone()).build(), Registry::builder(storage).build());
///
/// let blob = first.repository("team/app")?.push_blob("content", None).await?;
/// assert_eq!(second.repository("team/app")?.blob(&blob.digest).await?, Some(blob));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStorage {
    state: Shared,
}

impl MemoryStorage {
    /// Creates an empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all content at once: repositories, blobs, open uploads, and what is known about deleted content.
    ///
    /// ```
    /// use registry_core::{Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let storage = MemoryStorage::new();
    /// let repository = Registry::builder(storage.clone()).build().repository("team/app")?;
    /// let blob = repository.push_blob("content", None).await?;
    ///
    /// storage.clear();
    /// assert_eq!(repository.blob(&blob.digest).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) {
        self.state().clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStorage")
            .field("blobs", &state.blobs.len())
            .field("repositories", &state.repositories.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn abilities(&self) -> Abilities {
        Abilities::none()
            .with_exclusive(true)
            .with_conditional_tags(true)
            .with_shared_sessions(true)
            .with_holders(true)
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let mut state = self.state();
        let found = state.blob(repository, digest).map(|bytes| info(digest, bytes));
        if found.is_some() {
            state.touch_blob(repository, digest);
        }
        Ok(found)
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let Some(bytes) = self.state().blob(repository, digest).cloned() else {
            return Ok(None);
        };
        let info = info(digest, &bytes);
        let range = how.resolve(info.size)?;
        let part = bytes.slice(in_memory(range.start)?..in_memory(range.end)?);
        Ok(Some(BlobRead::new(
            info,
            range,
            BlobBody::Content(Content::bytes(part)),
        )))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let mut state = self.state();
        let found = state.repositories.get(repository);
        let found = found.and_then(|repository| repository.manifest(reference));
        // A pusher that finds a manifest by its digest skips everything that the manifest names. A tag protects its
        // target anyway.
        if let (Some(manifest), Reference::Digest(_)) = (&found, reference) {
            state.touch_closure(repository, manifest.digest);
        }
        Ok(found)
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let state = self.state();
        let existing = state.repositories.get(repository).filter(|found| found.exists);
        Ok(existing.map(|repository| {
            let tags = repository
                .tags
                .range(beyond(page.after))
                .map(|(tag, _)| tag.clone());
            Listing::first(page.limit, tags)
        }))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let state = self.state();
        let Some(referrers) = state
            .repositories
            .get(repository)
            .and_then(|repository| repository.referrers.get(of.subject))
        else {
            return Ok(Listing::default());
        };
        let wanted = referrers
            .range(beyond(page.after))
            .map(|(_, descriptor)| descriptor)
            .filter(|descriptor| descriptor.is_of(of.artifact_type));
        Ok(Listing::first(page.limit, wanted.cloned()))
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let state = self.state();
        let existing = state
            .repositories
            .range(beyond(page.after))
            .filter(|(_, repository)| repository.exists)
            .map(|(name, _)| name.clone());
        Ok(Listing::first(page.limit, existing))
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let state = self.state();
        Ok(state.blobs.get(digest).map_or_else(Listing::default, |blob| {
            Listing::first(page.limit, blob.holders.range(beyond(page.after)).cloned())
        }))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        Some(self)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        Some(self)
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        Some(self)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
impl StorageWrite for MemoryStorage {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|source| StorageError::Internal {
            context: "drawing the id of an upload session".into(),
            source: Some(Box::new(source)),
        })?;
        let id = UploadId::from_random(random);
        let upload = Upload::open(new);
        let opened = upload.state(id);
        self.state().repository(repository).uploads.insert(id, upload);
        Ok(opened)
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        let mut state = self.state();
        Ok(state.upload(repository, id).map(|upload| upload.state(*id)))
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let append = Append::begin(&self.state, repository, &state)?;
        let mut hasher = body.take_hasher()?;
        let mut pieces = Vec::new();
        while let Some(piece) = body.next(PIECE).await? {
            piece.hash(&mut hasher)?;
            pieces.push(join(piece.chunks()));
            if body.closing().is_none() {
                append.keep(&mut pieces, &hasher)?;
            }
        }
        if body.closing().is_some() {
            append.keep_closing(pieces, &hasher)?;
        } else {
            append.keep(&mut pieces, &hasher)?;
        }
        body.return_hasher(hasher);
        append.finish()
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        mut hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let (sealed, pieces) = {
            let mut all = self.state();
            let upload = all.upload_at(repository, &state)?;
            (upload.seal(&state), upload.pieces(&state))
        };
        for piece in &pieces {
            hasher.update(piece);
        }
        Ok((sealed, hasher))
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        if *proof.upload() != state.id {
            return Err(StorageError::internal("the proof is for another upload session"));
        }
        let pieces = match self.state().committable(repository, &state, &proof)? {
            Committable::Session(upload) => upload.pieces(&state),
            Committable::Done(info) => return Ok(info),
        };
        // Joining may take long, so it runs without the lock. The session is checked again below.
        let bytes = join(&pieces);
        if bytes.len() as u64 != proof.size() {
            return Err(StorageError::internal(format!(
                "the proof is for {} bytes, the session holds {}",
                proof.size(),
                bytes.len()
            )));
        }
        let mut all = self.state();
        if let Committable::Done(info) = all.committable(repository, &state, &proof)? {
            return Ok(info);
        }
        let info = info(proof.digest(), &bytes);
        all.end_upload(repository, &state.id);
        all.hold(repository, proof.digest(), bytes);
        Ok(info)
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        Ok(self.state().end_upload(repository, id))
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let mut state = self.state();
        let Some(bytes) = state.blob(mount.from, mount.digest).cloned() else {
            return Ok(None);
        };
        let info = info(mount.digest, &bytes);
        state.hold(to, mount.digest, bytes);
        Ok(Some(info))
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        let mut state = self.state();
        let wrong_sizes = state.check(repository, &put.needs, put.sizes)?;
        let stamp = state.stamp();
        let name = repository;
        let repository = state.repository(name);
        let digest = *put.manifest.digest();
        let mut outcome = PutOutcome::of_manifest(!repository.manifests.contains_key(&digest));
        outcome.wrong_sizes = wrong_sizes;
        let (mut tags, origin) = (std::mem::take(&mut put.tags), Origin::take(&mut put));
        repository.put(put, stamp);

        tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        for TagMove { tag, expect } in tags {
            match repository.move_tag(&tag, digest, expect, &origin, stamp) {
                Ok(previous) => outcome.moved.push(Moved::new(tag, previous)),
                Err(conflict) => {
                    outcome.failed = Some((tag, conflict));
                    break;
                }
            }
        }
        for previous in outcome.moved.iter().filter_map(|moved| moved.previous) {
            state.release_closure(name, previous);
            if previous != digest {
                state.suspect(name, previous, SuspectCause::Released);
            }
        }
        // After the releases: what the new target shares with the old one is in use.
        state.touch_closure(name, digest);
        Ok(outcome)
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let mut state = self.state();
        let name = repository;
        let mut repository = state.repositories.get_mut(name);
        match &repository {
            Some(found) => found.admit(tag, expect)?,
            None => admit(tag, None, None, expect)?,
        }
        let target = repository.as_mut().and_then(|found| found.remove_tag(tag, &how));
        if let Some(target) = target {
            state.release_closure(name, target);
            state.suspect(name, target, SuspectCause::Released);
        }
        Ok(target)
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let mut state = self.state();
        let closure = state.closure(repository, *digest);
        let found = state.repositories.get_mut(repository);
        let tags = found.and_then(|repository| repository.remove_manifest(digest, &how));
        if tags.is_some() {
            state.collection.deleted += 1;
            state.release_all(repository, closure);
            let cause = match how.permanent {
                true => SuspectCause::Released,
                false => SuspectCause::Recorded,
            };
            state.suspect(repository, *digest, cause);
        }
        Ok(tags)
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, _: Deletion) -> Result<bool> {
        let mut state = self.state();
        let is_deleted = state.release(repository, digest);
        if is_deleted {
            let link = Victim::Link(repository.clone(), *digest);
            state.collection.suspects.add(link, SuspectCause::Released);
        }
        Ok(is_deleted)
    }
}

/// Range of all keys that sort after a page's lower bound.
fn beyond<K>(after: Option<&K>) -> impl RangeBounds<K> {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// Copies the chunks into one buffer, so that a few bytes do not keep a network buffer alive.
fn join(chunks: &[Bytes]) -> Bytes {
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in chunks {
        joined.extend_from_slice(chunk);
    }
    joined.freeze()
}

/// Converts an offset within bytes in memory.
fn in_memory(offset: u64) -> Result<usize> {
    usize::try_from(offset).map_err(|source| StorageError::Internal {
        context: format!("offset {offset} of a blob in memory"),
        source: Some(Box::new(source)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Algorithm, storage::ingest};
    use http_body_util::{BodyExt as _, Full};
    use std::pin::pin;

    fn repository(name: &str) -> RepositoryName {
        RepositoryName::parse(name).unwrap()
    }

    async fn push(storage: &MemoryStorage, repository: &RepositoryName, bytes: &'static [u8]) -> BlobInfo {
        let body = Full::new(Bytes::from_static(bytes)).map_err(|never| match never {});
        ingest(storage, repository, pin!(body), None).await.unwrap()
    }

    #[tokio::test]
    async fn content_is_stored_once_and_freed_with_its_last_holder() {
        let storage = MemoryStorage::new();
        let (a, b) = (repository("a"), repository("b"));
        let blob = push(&storage, &a, b"content").await;
        assert_eq!(push(&storage, &b, b"content").await, blob);
        assert_eq!(storage.state().blobs.len(), 1);

        assert!(
            storage
                .delete_blob(&a, &blob.digest, Deletion::new())
                .await
                .unwrap()
        );
        assert_eq!(storage.blob(&b, &blob.digest).await.unwrap(), Some(blob));

        assert!(
            storage
                .delete_blob(&b, &blob.digest, Deletion::new())
                .await
                .unwrap()
        );
        assert!(storage.state().blobs.is_empty());
    }

    #[tokio::test]
    async fn a_failed_ingest_leaves_nothing_behind() {
        let storage = MemoryStorage::new();
        let a = repository("a");
        let body = Full::new(Bytes::from_static(b"content")).map_err(|never| match never {});
        let other = Digest::of(Algorithm::Sha512, b"other");

        ingest(&storage, &a, pin!(body), Some(other)).await.unwrap_err();

        let state = storage.state();
        assert!(state.blobs.is_empty());
        assert!(state.repositories.values().all(|found| found.uploads.is_empty()));
    }

    #[tokio::test]
    async fn asking_for_what_is_not_there_leaves_no_trace() {
        let storage = MemoryStorage::new();
        let (a, b) = (repository("a"), repository("b"));
        let digest = Digest::of(Algorithm::Sha256, b"");
        let id = UploadId::from_random([0; 16]);

        assert!(storage.upload(&a, &id).await.unwrap().is_none());
        assert!(!storage.cancel(&a, &id).await.unwrap());
        assert!(
            storage
                .mount(&b, Mount::new(&a, &digest))
                .await
                .unwrap()
                .is_none()
        );
        assert!(!storage.delete_blob(&a, &digest, Deletion::new()).await.unwrap());

        assert!(storage.state().repositories.is_empty());
    }
}
