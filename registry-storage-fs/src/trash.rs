//! `_trash/<name>/_deleted/<id>`: a record of each deletion of a manifest or tag, in JSON.
//!
//! A record is durable before anything is removed. The bytes of a deleted manifest stay in `blobs/`, until a collection
//! that finds no record of it. The collector of registry:2 does not know the records.

use crate::{
    error::{Context as _, FsError},
    links,
    moves::is_there,
    names::{names_after, parsed, read_dir},
    pauses::Point,
    store::Store,
    stored_file,
    walk::{Whom, unreadable},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    manifest::Manifest,
    storage::{
        Deletion, Document, Listing, Page, Result, Seen, StorageError, StoredManifest, SuspectCause, TrashId,
        Trashed,
    },
};
use std::{io, time::SystemTime};

/// Maximum number of tags in a line of the log.
const LOGGED_TAGS: usize = 10;

impl Store {
    /// Records that a manifest, read before, is about to be deleted with these tags. Returns false without a record:
    /// nothing can be restored, or there is no space for it.
    pub(crate) fn record_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &Result<Option<StoredManifest>>,
        tags: &[Tag],
        how: &Deletion,
    ) -> Result<bool> {
        self.record_deletion(repository, manifest, how, |id| {
            Trashed::manifest(id, *digest, tags.to_vec())
        })
    }

    /// Records that a tag is about to be deleted.
    pub(crate) fn record_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        target: &Digest,
        how: &Deletion,
    ) -> Result<()> {
        if how.permanent {
            return Ok(());
        }
        let mut target = *target;
        let mut manifest = self.restorable(repository, &target);
        if matches!(manifest, Ok(None))
            && let Some(last) = self.target_before(repository, tag, &target)?
        {
            target = last;
            manifest = self.restorable(repository, &target);
        }
        self.record_deletion(repository, &manifest, how, |id| {
            Trashed::tag(id, tag.clone(), target)
        })
        .map(drop)
    }

    /// Reads the target of a tag. If only its link was lost, it can be restored.
    fn restorable(&self, repository: &RepositoryName, target: &Digest) -> Result<Option<StoredManifest>> {
        match self.revision(repository, target) {
            Ok(None) => self.unrecorded(repository, target),
            found => found,
        }
    }

    /// Returns the last target of a tag whose link contains a digest at which it never pointed, as a crash may leave it.
    fn target_before(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        never: &Digest,
    ) -> Result<Option<Digest>, FsError> {
        // The tag is there: what its history tells is only more than its directory does.
        let own = self.own_history(repository, tag).unwrap_or_default();
        let paths = self.layout.tag(repository, tag);
        let was_ever_there =
            own.iter().any(|event| event.target == Some(*never)) || is_there(&paths.index(never))?;
        if was_ever_there {
            return Ok(None);
        }
        match own.last().and_then(|last| last.target) {
            None => self.last_target(&paths),
            last => Ok(last),
        }
    }

    fn record_deletion(
        &self,
        repository: &RepositoryName,
        manifest: &Result<Option<StoredManifest>>,
        how: &Deletion,
        trashed: impl FnOnce(TrashId) -> Trashed,
    ) -> Result<bool> {
        let media_type = match manifest {
            _ if how.permanent => return Ok(false),
            // A damaged or lost manifest cannot be restored.
            Ok(None) => return Ok(false),
            Ok(Some(manifest)) => Some(manifest.media_type.clone()),
            // The failure of the disk may be temporary.
            Err(_) => None,
        };
        let trashed = trashed(self.trash_ids.next(SystemTime::now()));
        let digest = trashed.digest;
        let stored = match links::read_of(&self.layout.revision(repository, &digest), &digest)? {
            Some(stored) => stored,
            None => self.unrecorded_as(repository, &digest)?,
        };
        let trashed = trashed.stored_as(stored).of_type(media_type).by(how.by.clone());
        match self.write_deletion(repository, &trashed) {
            Err(StorageError::Full { context, source, .. }) => {
                tracing::warn!(
                    %repository, digest = %trashed.digest, tag_count = trashed.tags.len(), tags = ?first_of(&trashed.tags),
                    error = %source,
                    "{context}: the deletion is not recorded, and cannot be undone"
                );
                Ok(false)
            }
            written => written.map(|()| true),
        }
    }

    /// Reads the undamaged target of a tag of which the repository has no record. A layer is none.
    fn unrecorded(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<StoredManifest>> {
        Ok(match self.unrecorded_document(repository, digest)? {
            Document::Whole(found) if Manifest::parse_stored(&found.bytes, &found.media_type).is_ok() => {
                Some(found)
            }
            _ => None,
        })
    }

    fn write_deletion(&self, repository: &RepositoryName, trashed: &Trashed) -> Result<()> {
        let record = trashed.to_record(repository, None);
        self.reserve.write(|| {
            let mut changes = self.disk.changes();
            changes.put(&self.layout.deletion(repository, &trashed.id), record.as_bytes())?;
            Ok(changes.settle()?)
        })
    }

    /// Lists the repositories with records.
    pub(crate) fn with_deleted(
        &self,
        page: &Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_below(&self.layout.trash(), page, Whom::Inspection, &|path| {
            let records = path.join("_deleted");
            let mut entries = read_dir(&records).if_there("list", &records)?;
            Ok(entries.as_mut().is_some_and(|entries| entries.next().is_some()))
        })
    }

    pub(crate) fn deleted(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        let directory = self.layout.deletions(repository);
        let after = page.after.map(TrashId::to_string);
        let names = names_after(&directory, after.as_deref())?;
        let mut found = Vec::new();
        for id in parsed(directory, names, TrashId::parse) {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            match self.read_deletion(repository, &id) {
                Ok(Some(trashed)) => found.push(Seen::Whole(trashed)),
                // It was forgotten meanwhile.
                Ok(None) => {}
                Err(error) => found.push(unreadable(id, &error)),
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    fn read_deletion(&self, repository: &RepositoryName, id: &TrashId) -> Result<Option<Trashed>, FsError> {
        let path = self.layout.deletion(repository, id);
        let Some(content) = stored_file::read(&path).if_there("read", &path)? else {
            return Ok(None);
        };
        let trashed = Trashed::from_record(*id, &content);
        let garbled = || io::Error::new(io::ErrorKind::InvalidData, "it contains no record of a deletion");
        trashed.ok_or_else(garbled).at("read", &path).map(Some)
    }

    pub(crate) fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        let Some(trashed) = self.read_deletion(repository, id)? else {
            return Ok(Document::Lost);
        };
        self.document_at(&trashed.digest, &trashed.stored, |bytes| {
            let media_type = trashed
                .media_type
                .unwrap_or_else(|| Manifest::sniff_media_type(&bytes));
            Ok(StoredManifest::new(trashed.digest, media_type, bytes.into()))
        })
    }

    /// Returns true if the repository is known to have a manifest.
    fn has_revision(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        is_there(&self.layout.revision(repository, digest)).unwrap_or(false)
    }

    /// Removes a record, and the directories that are empty then.
    ///
    /// The deletion has released what the record kept. Who was told of it since may rely on it, so that it is not released
    /// again.
    pub(crate) fn forget_deletion(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        let path = self.layout.deletion(repository, id);
        // Only hints are lost with a record that cannot be read.
        let trashed = self.read_deletion(repository, id).ok().flatten();
        if let Some(trashed) = &trashed
            && let Ok(Document::Whole(manifest)) = self.deleted_document(repository, id)
            // Otherwise it was put again, and keeps its content itself.
            && !(trashed.manifest_deleted && self.has_revision(repository, &trashed.digest))
        {
            self.account_for_removed(repository, &manifest);
        }
        self.pauses.reach(Point::ForgetDeletionAccounted);
        if let Some(trashed) = &trashed {
            self.complete_histories(repository, trashed);
        }
        let mut changes = self.disk.changes();
        let removed = changes.remove(&path)?;
        self.pauses.reach(Point::ForgetDeletionRemoved);
        self.disk
            .remove_empty(&self.layout.deletions(repository), &self.layout.trash());
        changes.settle()?;
        if let Some(trashed) = trashed.filter(|_| removed) {
            self.collecting
                .suspect(repository, &trashed.digest, SuspectCause::Forgotten);
        }
        Ok(removed)
    }
}

/// Returns the tags that a line of the log names. Clients decide how many there are.
fn first_of(tags: &[Tag]) -> &[Tag] {
    tags.get(..LOGGED_TAGS).unwrap_or(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage,
        faults::fail,
        support::{all, manifest, name, put, tag, top, writer},
    };
    use registry_core::{
        MediaType, Reference, Registry, Storage as _,
        service::{ManifestPush, Restore, RestoreError},
        storage::{StorageTrash as _, TagExpect},
    };
    use rustix::io::Errno;
    use std::fs;
    use tempfile::TempDir;

    async fn tagged(root: &TempDir) -> (FsStorage, Digest) {
        let storage = FsStorage::open(root.path()).unwrap();
        let image = manifest("1");
        let digest = *image.digest();
        put(&storage, &name("a/b"), image, &["v1"]).await;
        (storage, digest)
    }

    async fn delete_tag(storage: &FsStorage) -> Result<Option<Digest>> {
        let (repository, tag) = (name("a/b"), tag("v1"));
        writer(storage)
            .delete_tag(&repository, &tag, TagExpect::Any, Deletion::new())
            .await
    }

    async fn resolve(storage: &FsStorage) -> Option<Digest> {
        let found = storage.manifest(&name("a/b"), &Reference::Tag(tag("v1"))).await;
        found.unwrap().map(|found| found.digest)
    }

    async fn listed(storage: &FsStorage) -> Vec<Seen<Trashed, TrashId>> {
        storage.deleted(&name("a/b"), all()).await.unwrap().items
    }

    #[tokio::test]
    async fn nothing_is_deleted_if_its_record_cannot_be_made_durable() {
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = tagged(&root).await;
        let records = storage.store().layout.deletions(&name("a/b"));
        let fault = fail(&records, Errno::IO);

        assert!(delete_tag(&storage).await.is_err());
        let deleted = writer(&storage)
            .delete_manifest(&name("a/b"), &digest, Deletion::new())
            .await;
        assert!(deleted.is_err());

        drop(fault);
        assert_eq!(resolve(&storage).await, Some(digest));
    }

    /// A deletion may be what makes space.
    #[tokio::test]
    async fn without_space_for_a_record_a_deletion_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = tagged(&root).await;
        let _fault = fail(&storage.store().layout.deletions(&name("a/b")), Errno::NOSPC);

        assert_eq!(delete_tag(&storage).await.unwrap(), Some(digest));
        assert_eq!(resolve(&storage).await, None);
    }

    #[tokio::test]
    async fn a_crash_before_the_removal_leaves_a_record_of_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = tagged(&root).await;
        let at_crash = tempfile::tempdir().unwrap();
        let (from, to) = (top(root.path()), top(at_crash.path()));
        storage.store().pauses.at(Point::DeleteTagRecorded, move || {
            fs::create_dir_all(&to).unwrap();
            copy(&from, &to);
        });
        delete_tag(&storage).await.unwrap();

        let storage = FsStorage::open(at_crash.path()).unwrap();

        assert_eq!(resolve(&storage).await, Some(digest));
        assert_eq!(listed(&storage).await.len(), 1);
    }

    fn copy(from: &std::path::Path, to: &std::path::Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_garbled_record_is_shown_and_can_be_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let (storage, _) = tagged(&root).await;
        delete_tag(&storage).await.unwrap();
        let records = storage.store().layout.deletions(&name("a/b"));
        for entry in fs::read_dir(&records).unwrap() {
            fs::write(entry.unwrap().path(), "{").unwrap();
        }
        fs::write(records.join("of another program"), "").unwrap();

        let items = listed(&storage).await;
        let [Seen::Unreadable { key, reason, .. }] = &items[..] else {
            panic!("{items:?}");
        };
        assert!(reason.contains("contains no record of a deletion"), "{reason}");
        assert!(storage.forget(&name("a/b"), key).await.unwrap());

        assert!(listed(&storage).await.is_empty());
    }

    /// Its content is there: only the disk fails.
    #[tokio::test]
    async fn a_restore_does_not_call_gone_what_a_record_names_that_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let repository = Registry::builder(storage.clone())
            .build()
            .repository("a/b")
            .unwrap();
        let push = |reference: Reference, entries: &str| {
            let media_type = MediaType::OCI_INDEX;
            let document =
                format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{entries}]}}"#);
            repository.put_manifest(ManifestPush::new(reference, document))
        };
        let child = push(tag("child").into(), "").await.unwrap().digest;
        let size = repository.manifest(child).await.unwrap().unwrap().bytes.len();
        let entry = format!(
            r#"{{"mediaType":"{}","digest":"{child}","size":{size}}}"#,
            MediaType::OCI_INDEX
        );
        let index = push(tag("v1").into(), &entry).await.unwrap().digest;
        for digest in [index, child] {
            assert!(repository.delete_manifest(digest).await.unwrap());
        }
        let mut records = listed(&storage).await.into_iter().filter_map(Seen::whole);
        let record = records.find(|record| record.digest == child).unwrap();
        let fault = fail(
            &storage.store().layout.deletion(&name("a/b"), &record.id),
            Errno::IO,
        );

        let failed = repository.restore(Restore::new(tag("v1"))).await;
        assert!(matches!(failed, Err(RestoreError::Refused(_))), "{failed:?}");

        drop(fault);
        let restored = repository.restore(Restore::new(tag("v1"))).await.unwrap();
        assert_eq!(restored.manifests.len(), 2);
    }

    #[tokio::test]
    async fn nothing_stays_of_the_last_record_and_read_only_handles_keep_it() {
        let root = tempfile::tempdir().unwrap();
        let (storage, _) = tagged(&root).await;
        delete_tag(&storage).await.unwrap();
        let id = listed(&storage).await.pop().and_then(Seen::whole).unwrap().id;
        let reader = FsStorage::options().read_only().open(root.path()).unwrap();
        assert_eq!(listed(&reader).await, listed(&storage).await);
        let refused = reader.forget(&name("a/b"), &id).await;
        assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");

        assert!(storage.forget(&name("a/b"), &id).await.unwrap());

        let trash = storage.store().layout.trash();
        assert_eq!(fs::read_dir(trash).unwrap().count(), 0);
    }

    /// A record would only keep what the manifest refers to.
    #[tokio::test]
    async fn a_damaged_manifest_is_deleted_without_a_record() {
        let root = tempfile::tempdir().unwrap();
        let (storage, digest) = tagged(&root).await;
        fs::write(storage.store().layout.blob(&digest), "damaged").unwrap();

        let deleted = writer(&storage)
            .delete_manifest(&name("a/b"), &digest, Deletion::new())
            .await;

        assert_eq!(deleted.unwrap(), Some(vec![tag("v1")]));
        assert!(listed(&storage).await.is_empty());
    }
}
