//! `_trash/<name>/_deleted/<id>/record`: a record of each deletion of a manifest or tag, in JSON.
//!
//! A record is there before anything is removed. It is published as a push is: what it names is promised, and it cannot land
//! when a collection has already removed that. The bytes of a deleted manifest stay in `blobs/`, until a collection
//! that finds no record of it. The collector of registry:2 does not know the records.
//!
//! The time of a record is that of the store's clock. Two replicas never have the same id in a repository: an id is
//! created where there is none.
//!
//! Requests to the store: a page of records costs a listing of all records of the repository, with 1,000 keys each, and
//! one for each record.

use crate::{
    bucket::{Condition, Fence, Sent},
    error::restart,
    gate::Promised,
    keys,
    nonce::nonce,
    scans::at_once,
    store::Store,
    tags::Untagging,
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::{
    Digest, RepositoryName, Tag,
    manifest::Manifest,
    storage::{
        Deletion, Document, Listing, Page, Result, Seen, StorageError, StoredManifest, SuspectCause, TrashId,
        Trashed,
    },
};

/// Number of attempts to find an id that no other replica has taken.
const ATTEMPTS: usize = 20;

impl Store {
    /// Records that a manifest, read before, is about to be deleted with these tags. The caller has promised it. Returns
    /// false if the time has passed until which that may be recorded.
    pub(crate) async fn record_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &Result<Option<StoredManifest>>,
        tags: &[Tag],
        how: &Deletion,
        fence: Option<Fence>,
    ) -> Result<bool> {
        let record = |id| Trashed::manifest(id, *digest, tags.to_vec());
        self.record_deletion(repository, digest, manifest, how, fence, record)
            .await
    }

    /// Records that a tag is about to be deleted. Returns false if the view has become too old.
    pub(crate) async fn record_tag(&self, removal: &Untagging<'_>, target: &Digest) -> Result<bool> {
        let Untagging {
            repository, tag, how, ..
        } = *removal;
        if how.permanent {
            return Ok(true);
        }
        let promised = [Promised::Manifest(repository, target)];
        self.gate.promise(&self.bucket, removal.view, &promised).await?;
        let manifest = match self.revision(repository, target).await {
            // Only its record may be lost.
            Ok(None) => self.unrecorded(repository, target).await,
            found => found,
        };
        let record = |id| Trashed::tag(id, tag.clone(), *target);
        self.record_deletion(repository, target, &manifest, how, removal.view.fence(), record)
            .await
    }

    /// Reads the undamaged target of a tag of which the repository has no record. A layer is none.
    pub(crate) async fn unrecorded(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        Ok(match self.document_at(repository, digest, digest).await? {
            Document::Whole(found) if Manifest::parse_stored(&found.bytes, &found.media_type).is_ok() => {
                Some(found)
            }
            _ => None,
        })
    }

    async fn record_deletion(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &Result<Option<StoredManifest>>,
        how: &Deletion,
        fence: Option<Fence>,
        trashed: impl Fn(TrashId) -> Trashed,
    ) -> Result<bool> {
        let media_type = match manifest {
            _ if how.permanent => return Ok(true),
            // A damaged or lost manifest cannot be restored.
            Ok(None) => return Ok(true),
            Ok(Some(manifest)) => Some(manifest.media_type.clone()),
            // The failure of the store may be temporary.
            Err(_) => None,
        };
        let stored = self
            .revision_link(repository, digest)
            .await?
            .target()
            .unwrap_or(*digest);
        let mut id = self.trash_ids.next(self.stamp());
        for _ in 0..ATTEMPTS {
            let trashed = trashed(id)
                .stored_as(stored)
                .of_type(media_type.clone())
                .by(how.by.clone());
            let content = Bytes::from(trashed.to_record(repository, Some(&nonce()?)));
            let key = keys::deletion(repository, &id);
            match self
                .bucket
                .put_once(&key, content.clone(), &Condition::Absent, fence)
                .await?
            {
                Sent::Done(_) => return Ok(true),
                Sent::Expired => return Ok(false),
                Sent::Unclear => {
                    let found = self.bucket.get(&key).await?;
                    if found.is_some_and(|found| found.bytes == content) {
                        return Ok(true);
                    }
                }
                Sent::Refused => {}
            }
            // At worst, there are two records of one deletion.
            id = self.trash_ids.next(id.time());
        }
        Err(restart(&format!("record the deletion of {digest}")))
    }

    /// Lists the repositories with records.
    pub(crate) async fn with_deleted(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_below(keys::TRASH, "_deleted", page).await
    }

    pub(crate) async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        let mut ids = self.deletion_ids(repository).await?;
        ids.retain(|id| page.after.is_none_or(|after| id > after));
        let mut found = Vec::new();
        // One item beyond the page shows that there are more.
        for ids in ids.chunks(page.limit.saturating_add(1)) {
            let read = ids.iter().map(|id| self.read_deletion(repository, id));
            for (id, read) in ids.iter().zip(at_once(read).await?) {
                match read {
                    Read::Whole(trashed) => found.push(Seen::Whole(*trashed)),
                    // It was forgotten meanwhile.
                    Read::Absent => {}
                    Read::Garbled => {
                        let key = keys::deletion(repository, id);
                        let reason = format!("{key} contains no record of a deletion");
                        found.push(Seen::unreadable(*id, reason));
                    }
                }
            }
            if found.len() > page.limit {
                break;
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns the ids of all records of a repository, in order.
    async fn deletion_ids(&self, repository: &RepositoryName) -> Result<Vec<TrashId>> {
        let directory = keys::deletions(repository);
        let mut ids = Vec::new();
        let mut listed = self.bucket.list(&directory);
        while let Some(meta) = listed.try_next().await? {
            let name = meta.key.strip_prefix(&directory).and_then(|rest| rest.get(1..));
            let name = name.and_then(|rest| rest.strip_suffix("/record"));
            ids.extend(name.and_then(TrashId::parse));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Reads every record of a repository that can be read.
    pub(crate) async fn all_deleted(&self, repository: &RepositoryName) -> Result<Vec<Trashed>> {
        let ids = self.deletion_ids(repository).await?;
        let read = ids.iter().map(|id| self.read_deletion(repository, id));
        let whole = |read| match read {
            Read::Whole(trashed) => Some(*trashed),
            Read::Absent | Read::Garbled => None,
        };
        let read = at_once(read).await?;
        Ok(read.into_iter().filter_map(whole).collect())
    }

    async fn read_deletion(&self, repository: &RepositoryName, id: &TrashId) -> Result<Read> {
        let object = self.bucket.get(&keys::deletion(repository, id)).await?;
        Ok(object.map_or(Read::Absent, |object| {
            Trashed::from_record(*id, &object.bytes)
                .map_or(Read::Garbled, |trashed| Read::Whole(Box::new(trashed)))
        }))
    }

    pub(crate) async fn deleted_document(
        &self,
        repository: &RepositoryName,
        id: &TrashId,
    ) -> Result<Document> {
        let trashed = match self.read_deletion(repository, id).await? {
            Read::Whole(trashed) => *trashed,
            Read::Absent => return Ok(Document::Lost),
            Read::Garbled => {
                let key = keys::deletion(repository, id);
                return Err(StorageError::internal(format!(
                    "{key} contains no record of a deletion"
                )));
            }
        };
        let document = self
            .document_at(repository, &trashed.digest, &trashed.stored)
            .await?;
        Ok(match (document, trashed.media_type) {
            (Document::Whole(found), Some(media_type)) => {
                Document::Whole(StoredManifest::new(found.digest, media_type, found.bytes))
            }
            (document, _) => document,
        })
    }

    /// Removes a record.
    pub(crate) async fn forget_deletion(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        let key = keys::deletion(repository, id);
        let Some(object) = self.bucket.get(&key).await? else {
            return Ok(false);
        };
        if let Some(trashed) = Trashed::from_record(*id, &object.bytes) {
            self.complete_histories(repository, &trashed).await;
            // Before it happens: it is a hint.
            self.suspect(repository, &trashed.digest, SuspectCause::Forgotten);
        }
        // No id is used twice, so a late removal removes nothing else.
        self.bucket.delete(&key).await?;
        Ok(true)
    }
}

/// Result of the reading of a record.
enum Read {
    Whole(Box<Trashed>),
    Absent,
    Garbled,
}
