//! Manifests: their bytes are blobs, and a link under `revisions` makes them manifests of a repository.
//!
//! registry:2 stores no media type and reads it from the bytes. If the bytes state none, or another one than the
//! manifest was pushed with, a file under `_manifests/media-types` states it.

use crate::{
    FsStorage,
    blobs::known_as,
    closures::{Closure, named_by},
    digest_locks::Key,
    error::{Context, FsError},
    links::{self, Link},
    locks::Slot,
    pauses::Point,
    referrer_entry::Entry,
    seams,
    sections::Section,
    store::Store,
    stored_file,
    tag_index::Lease,
    tags::{LockedTags, Origin},
};
use bytes::Bytes;
use registry_core::{
    Digest, MediaType, Reference, RepositoryName, Tag,
    manifest::Manifest,
    storage::{
        BlobInfo, Deletion, Document, PutManifest, PutOutcome, Result, StoredManifest, SuspectCause, TagMove,
    },
};
use std::{collections::VecDeque, io::Read as _, path::Path};

/// Maximum size of a manifest that any number of threads may read at once, in bytes.
const LARGE: u64 = 128 << 10;
/// Maximum size of content that is read because a tag points at it, in bytes.
const UNRECORDED: u64 = 16 << 20;

impl FsStorage {
    /// Deletes a manifest, with the tags that the index names. Waiting for the index holds no thread.
    pub(crate) async fn delete_manifest_and_tags(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let Some(tags) = self.tags_pointing_at(repository, digest).await? else {
            // In another directory than the opened one, everything would seem absent.
            return self.writing(|_| Ok(None)).await;
        };
        let (repository, digest) = (repository.clone(), *digest);
        self.writing(move |store| store.delete_manifest(&repository, &digest, &tags, &how))
            .await
    }
}

impl FsStorage {
    /// Reads a manifest for inspection, even a damaged one, or one of which only a tag is left.
    pub(crate) async fn inspect_document(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Document> {
        let (name, target) = (repository.clone(), *digest);
        let found = self.inspecting(move |store| store.document(&name, &target));
        if let Some(document) = found.await? {
            return Ok(document);
        }
        let tags = self.list_tags_of(repository, digest, None, 1).await?;
        if tags.items.is_empty() {
            return Ok(Document::Lost);
        }
        let name = repository.clone();
        self.inspecting(move |store| store.unrecorded_document(&name, &target))
            .await
    }
}

impl Store {
    pub(crate) fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let digest = match reference {
            Reference::Digest(digest) if self.is_owned() => {
                return self.promised_manifest(repository, digest);
            }
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match links::read(&self.layout.tag(repository, tag).current())? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        self.revision(repository, &digest)
    }

    /// Returns a manifest to a client, which may be a pusher who does not push then what is below it.
    ///
    /// Touches everything that is known to be below it, too. That needs no locks of its own: nothing that a manifest
    /// refers to is removed before the manifest.
    fn promised_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        let section = self.section([self.digest_locks.key(digest)]);
        let found = self.revision(repository, digest)?;
        if let Some(found) = &found {
            section.promise();
            self.collecting
                .touch(self.closure_keys(repository, found).iter().copied());
            self.pauses.reach(Point::ManifestPromised);
        }
        Ok(found)
    }

    pub(crate) fn revision(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        match links::read_of(&self.layout.revision(repository, digest), digest)? {
            Some(target) => self.revision_at(repository, digest, &target),
            None => Ok(None),
        }
    }

    /// Reads the manifest whose link contains `target`.
    fn revision_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        target: &Digest,
    ) -> Result<Option<StoredManifest>> {
        let path = self.layout.blob(target);
        // The slot is held until the document is verified.
        let (bytes, _slot) = self.read_document(&path)?.unwrap_or_default();
        self.pauses.reach(Point::ManifestInMemory);
        if !is_of(&bytes, digest, target) {
            if self.reported.is_news(&path, bytes.len() as u64) {
                tracing::error!(
                    %repository,
                    %digest,
                    path = %path.display(),
                    size = bytes.len(),
                    "a manifest is damaged or lost; it counts as absent until it is pushed again"
                );
            }
            return Ok(None);
        }
        self.reported.forget(&path);
        self.with_media_type(repository, digest, bytes).map(Some)
    }

    fn with_media_type(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<StoredManifest> {
        let media_type = match self.stored_media_type(repository, digest)? {
            Some(stored) => stored,
            None => Manifest::sniff_media_type(&bytes),
        };
        Ok(StoredManifest::new(*digest, media_type, Bytes::from(bytes)))
    }

    /// Reads a manifest for inspection, even a damaged one. Returns `None` if the repository has no record of it.
    pub(crate) fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Document>> {
        let Some(target) = links::read_of(&self.layout.revision(repository, digest), digest)? else {
            return Ok(None);
        };
        let whole = |bytes| self.with_media_type(repository, digest, bytes);
        self.document_at(digest, &target, whole).map(Some)
    }

    /// Does the same without a record, by the digest alone.
    pub(crate) fn unrecorded_document(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Document> {
        let stored = self.unrecorded_as(repository, digest)?;
        self.small_document(repository, digest, &stored)
    }

    /// Returns true if the bytes of a manifest are there, by its digest, and undamaged. A layer is no manifest.
    pub(crate) fn is_whole_document(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        match self.small_document(repository, digest, digest) {
            Ok(Document::Whole(found)) => Manifest::parse_stored(&found.bytes, &found.media_type).is_ok(),
            _ => false,
        }
    }

    /// Reads a manifest from the bytes of a digest, which may be a layer. A large one counts as lost.
    fn small_document(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: &Digest,
    ) -> Result<Document> {
        match self.stored(stored)? {
            Some(found) if found.size > UNRECORDED => Ok(Document::Lost),
            _ => self.document_at(digest, stored, |bytes| {
                self.with_media_type(repository, digest, bytes)
            }),
        }
    }

    /// Returns the digest by which content is stored of which only a tag is left. For registry:2, a manifest was a blob
    /// of the repository, too.
    pub(crate) fn unrecorded_as(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Digest, FsError> {
        Ok(links::read_of(&self.layout.layer(repository, digest), digest)?.unwrap_or(*digest))
    }

    /// Reads a manifest by the digest by which its bytes are stored. `whole` describes it if it is undamaged.
    pub(crate) fn document_at(
        &self,
        digest: &Digest,
        stored: &Digest,
        whole: impl FnOnce(Vec<u8>) -> Result<StoredManifest>,
    ) -> Result<Document> {
        let Some((bytes, _slot)) = self.read_document(&self.layout.blob(stored))? else {
            return Ok(Document::Lost);
        };
        if !is_of(&bytes, digest, stored) {
            return Ok(match bytes.is_empty() {
                true => Document::Lost,
                false => Document::Damaged(bytes.into()),
            });
        }
        whole(bytes).map(Document::Whole)
    }

    /// Reads a document. A large one takes a slot, which bounds the memory that the registry has not counted yet.
    fn read_document(&self, path: &Path) -> Result<Option<(Vec<u8>, Option<Slot<'_>>)>> {
        seams::opened(path);
        let Some(mut file) = stored_file::open(path).if_there("open", path)? else {
            return Ok(None);
        };
        let metadata = file.metadata().at("read the metadata of", path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let length = metadata.len();
        let slot = (length > LARGE).then(|| self.large_reads.take());
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).at("read", path)?;
        Ok(Some((bytes, slot)))
    }

    fn stored_media_type(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<MediaType>> {
        let path = self.layout.media_type(repository, digest);
        seams::opened(&path);
        // Anything that is no file is replaced or quarantined by the next push.
        let text = stored_file::read(&path).if_there("read", &path)?;
        Ok(text
            .and_then(|text| String::from_utf8(text).ok())
            .and_then(|text| MediaType::parse(&text).ok()))
    }

    /// Returns the size and the time of a manifest, without reading it.
    pub(crate) fn manifest_info(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>, FsError> {
        let Some(target) = links::read_of(&self.layout.revision(repository, digest), digest)? else {
            return Ok(None);
        };
        let found = self.stored(&target)?;
        Ok(found.map(|found| known_as(digest, &found)))
    }

    pub(crate) fn put_manifest(
        &self,
        repository: &RepositoryName,
        mut put: PutManifest,
    ) -> Result<PutOutcome> {
        let digest = *put.manifest.digest();
        let mut keys = self.keys_of_put(repository, &put);
        put.tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        let mut moves: VecDeque<TagMove> = put.tags.drain(..).collect();
        let mut outcome = PutOutcome::of_manifest(false);
        let mut trusts = true;
        loop {
            let closure = self.closure(repository, &put.needs, trusts)?;
            // Until the tags are durable: nobody can remove the manifest, nor what it needs, nor what a tag leaves.
            let mut section = self.section(keys.iter().chain(&closure.keys).copied());
            trusts = self.is_current(&closure);
            if !trusts {
                continue;
            }
            if self.store_manifest(&mut section, repository, &put, &closure, &mut outcome)? {
                let origin = Origin::of(&put);
                self.move_tags(
                    &mut section,
                    repository,
                    &digest,
                    &mut moves,
                    origin,
                    &mut outcome,
                )?;
            }
            match section.blocked() {
                [] => return Ok(outcome),
                blocked => keys.extend(blocked),
            }
        }
    }

    /// Returns the keys of a manifest and of all that it names, also of what need not exist: where it does, it is kept.
    fn keys_of_put(&self, repository: &RepositoryName, put: &PutManifest) -> Vec<Key> {
        let digest = *put.manifest.digest();
        let document = StoredManifest::new(digest, put.media_type.clone(), put.manifest.bytes().clone());
        let named = named_by(&document);
        let named = named.iter().map(|named| &named.item.digest);
        let needed = put.needs.iter().map(|needed| &needed.digest);
        let all = named.chain(needed).chain([&digest]);
        let mut keys: Vec<Key> = all.map(|named| self.digest_locks.key(named)).collect();
        keys.push(self.digest_locks.repository(repository));
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Checks and publishes a manifest without its tags. Returns false if the section has to begin again.
    fn store_manifest(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        put: &PutManifest,
        closure: &Closure,
        outcome: &mut PutOutcome,
    ) -> Result<bool> {
        let digest = *put.manifest.digest();
        let bytes = put.manifest.bytes();
        // Two puts of the same manifest may state different media types.
        let _lock = self.manifests.lock((repository.clone(), digest));
        outcome.wrong_sizes = self.check_needs(section, repository, &put.needs, closure, put.sizes)?;
        if section.is_blocked() {
            return Ok(false);
        }
        section.promise();
        self.pauses.reach(Point::PutManifestPromised);
        self.ensure_durable(repository, &put.needs, closure)?;

        outcome.created |= self.manifest_info(repository, &digest)?.is_none();
        let mut changes = self.disk.changes();
        self.place_blob(&digest, |target| changes.ensure(target, bytes))?;
        self.pauses.reach(Point::PutManifestStored);
        let media_type = self.layout.media_type(repository, &digest);
        if Manifest::sniff_media_type(bytes) == put.media_type {
            self.place(&digest, &media_type, || changes.remove(&media_type))?;
        } else {
            self.place(&digest, &media_type, || {
                changes.ensure(&media_type, put.media_type.as_str().as_bytes())
            })?;
        }
        // Before the link: a power loss must not leave a manifest whose bytes are lost, which keeps all of its repository,
        // nor one of another type.
        changes.settle()?;
        if put.referrer.is_some() {
            // Parsed from the bytes, as at the completion of the index. Added before the manifest is visible.
            let stored = StoredManifest::new(digest, put.media_type.clone(), bytes.clone());
            if let Some(entry) = Entry::of(&stored) {
                self.referrer_index().add(repository, &entry)?;
            }
        }
        self.pauses.reach(Point::PutManifestEntryAdded);
        // Without `_layers`, the collector of registry:2 ignores the repository, and removes its content. Without
        // `tags`, it fails, or deletes the bytes of the manifest and leaves its link. Created only now, because a
        // manifest that cannot be written creates no repository.
        let mut changes = self.disk.changes();
        changes.make(&self.layout.all_layers(repository))?;
        let link = self.layout.revision(repository, &digest);
        let text = digest.to_string();
        // Also if it is there: its time is that of the last put.
        self.place(&digest, &link, || changes.put(&link, text.as_bytes()))?;
        if changes.make(&self.layout.tags(repository))? {
            // Before the push is acknowledged.
            self.bare.appear(&self.layout.manifests(repository));
        }
        self.pauses.reach(Point::PutManifestLinked);
        // Before a tag moves: otherwise a tag could point at a manifest that a power loss removes.
        changes.settle()?;
        self.pauses.reach(Point::PutManifestDurable);
        let known = &self.known_closures;
        known.remember(repository, &digest, section.keys(), Some(closure.began));
        for (image, keys) in &closure.images {
            known.remember(repository, image, keys, Some(closure.began));
        }
        Ok(true)
    }

    /// Records the deletion of a manifest, deletes its tags, and then the manifest. No tag ever points at a missing
    /// manifest.
    ///
    /// A manifest with a garbled link is deleted, too. Readers do not see it, but it keeps a collection from removing
    /// anything of its repository. Its bytes are stored by its name, unless registry:2 has stored them by another one.
    pub(crate) fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tags: &Lease,
        how: &Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        // No put of the manifest, nor of one that names it, is between its check and its last tag.
        let _locks = self.digest_locks.exclusive([self.digest_locks.key(digest)]);
        let link = self.layout.revision(repository, digest);
        let target = match links::look_of(&link, digest)? {
            Link::None => return Ok(None),
            Link::Garbled => *digest,
            Link::To(target) => target,
        };
        self.pauses.reach(Point::DeleteManifestLocked);
        // The record names exactly the tags that are removed.
        let LockedTags { tags, locks } = self.lock_tags_at(repository, digest, tags.candidates(digest))?;
        let found = self.revision_at(repository, digest, &target);
        let is_recorded = self.record_manifest(repository, digest, &found, &tags, how)?;
        self.pauses.reach(Point::DeleteManifestRecorded);
        self.discard_tags(repository, &tags, Some(digest), how)?;
        drop(locks);
        // The entry of an unreadable manifest stays, and has no effect.
        let stored = found.ok().flatten();
        let entry = stored.as_ref().and_then(Entry::of);
        self.count_deletion();
        self.collecting.leaves_something(repository);
        if let (false, Some(stored)) = (is_recorded, &stored) {
            self.account_for_removed(repository, stored);
        }
        let mut changes = self.disk.changes();
        self.place(digest, &link, || changes.remove(&link))?;
        self.pauses.reach(Point::DeleteManifestLinkRemoved);
        self.known_closures.removed([self.digest_locks.key(digest)]);
        let media_type = self.layout.media_type(repository, digest);
        self.place(digest, &media_type, || changes.remove(&media_type))?;
        changes.settle()?;
        self.pauses.reach(Point::DeleteManifestDurable);
        if let Some(entry) = entry {
            self.referrer_index().remove(repository, &entry);
        }
        let cause = match how.permanent {
            true => SuspectCause::Released,
            false => SuspectCause::Recorded,
        };
        self.collecting.suspect(repository, digest, cause);
        match &stored {
            Some(stored) => self.release_removed(repository, stored),
            None => {
                self.collecting.release([self.digest_locks.key(digest)]);
            }
        }
        Ok(Some(tags))
    }
}

/// Returns true if these are the bytes of a digest, and of the one that they are stored by. The link of registry:2 from one
/// to the other may be wrong.
fn is_of(bytes: &[u8], digest: &Digest, stored: &Digest) -> bool {
    let is_of = |digest: &Digest| Digest::of(digest.algorithm(), bytes) == *digest;
    is_of(stored) && (digest == stored || is_of(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{content, name, put};
    use registry_core::{Algorithm, storage::Verified};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    /// Without slots, as many large manifests would be in memory as there are threads, before the registry counts them.
    #[tokio::test]
    async fn a_large_manifest_has_a_slot_until_it_was_looked_at_and_a_small_one_needs_none() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let store = storage.shared_store();
        let all = store.large_reads.free();
        let large = usize::try_from(LARGE).unwrap();
        for (size, slots) in [(large, 0), (large + 1, 1)] {
            let document = Verified::of(Algorithm::Sha256, content(size));
            let digest = *document.digest();
            put(&storage, &name("a"), document, &[]).await;
            let taken = Arc::new(AtomicUsize::new(usize::MAX));
            let (seen, at_work) = (Arc::clone(&taken), Arc::clone(&store));
            store.pauses.at(Point::ManifestInMemory, move || {
                seen.store(all - at_work.large_reads.free(), Ordering::SeqCst);
            });

            store.revision(&name("a"), &digest).unwrap().unwrap();

            assert_eq!(taken.load(Ordering::SeqCst), slots, "{size}");
            assert_eq!(store.large_reads.free(), all);
        }
    }
}
