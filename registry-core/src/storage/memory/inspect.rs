//! Planes for looking at the content in memory, for expiry, for health checks and for what was deleted.

use super::{MemoryStorage, beyond, state::info};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::{Reference, Tag},
    storage::{
        BlobInfo, Document, HeldBlob, HeldManifest, Listing, LostTag, Page, Result, Seen, Space,
        StorageExpire, StorageHealth, StorageInspect, StorageTrash, SuspectCause, TagEvent, TagTarget,
        TrashId, Trashed, UploadState,
    },
    upload_id::UploadId,
};
use async_trait::async_trait;
use std::time::SystemTime;

#[async_trait]
impl StorageInspect for MemoryStorage {
    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let state = self.state();
        let all = state.repositories.range(beyond(page.after));
        let holding = all.filter(|(_, repository)| repository.holds_anything());
        Ok(Listing::first(
            page.limit,
            holding.map(|(name, _)| Seen::Whole(name.clone())),
        ))
    }

    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        let state = self.state();
        let blobs = state.blobs.range(beyond(page.after));
        Ok(Listing::first(
            page.limit,
            blobs.map(|(digest, blob)| Seen::Whole(info(digest, &blob.bytes))),
        ))
    }

    async fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let held = repository.blobs.range(beyond(page.after));
            let held = held.map(|(digest, _)| Seen::Whole(HeldBlob::new(*digest)));
            Listing::first(page.limit, held)
        }))
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let manifests = repository.manifests.range(beyond(page.after));
            let manifests = manifests.map(|(digest, manifest)| {
                let size = manifest.bytes.len() as u64;
                Seen::Whole(
                    HeldManifest::new(*digest)
                        .with_size(Some(size))
                        .with_put(Some(manifest.put)),
                )
            });
            Listing::first(page.limit, manifests)
        }))
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        let state = self.state();
        let found = state.repositories.get(repository);
        let found = found.and_then(|repository| repository.manifest(&Reference::Digest(*digest)));
        Ok(found.map_or(Document::Lost, Document::Whole))
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let tags = repository.tags.range(beyond(page.after));
            let targets = tags.map(|(tag, target)| {
                let version = repository.version(tag);
                Seen::Whole(TagTarget::new(tag.clone(), *target).with_version(version))
            });
            Listing::first(page.limit, targets)
        }))
    }

    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let tags = repository.tags.range(beyond(page.after));
            let pointing = tags.filter(|(_, target)| *target == digest);
            Listing::first(page.limit, pointing.map(|(tag, _)| tag.clone()))
        }))
    }

    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let state = self.state();
        let uploading = state
            .repositories
            .range(beyond(page.after))
            .filter(|(_, repository)| !repository.uploads.is_empty())
            .map(|(name, _)| Seen::Whole(name.clone()));
        Ok(Listing::first(page.limit, uploading))
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let uploads = repository.uploads.range(beyond(page.after));
            let uploads = uploads.map(|(id, upload)| Seen::Whole(upload.state(*id)));
            Listing::first(page.limit, uploads)
        }))
    }
}

#[async_trait]
impl StorageExpire for MemoryStorage {
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        let mut state = self.state();
        let idle = state.upload_at(repository, seen).is_ok();
        Ok(idle && state.end_upload(repository, &seen.id))
    }
}

#[async_trait]
impl StorageHealth for MemoryStorage {
    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn accepts_uploads(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl StorageTrash for MemoryStorage {
    async fn with_deleted(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let state = self.state();
        let deleting = state
            .repositories
            .range(beyond(page.after))
            .filter(|(_, repository)| !repository.trash.records.is_empty())
            .map(|(name, _)| Seen::Whole(name.clone()));
        Ok(Listing::first(page.limit, deleting))
    }

    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let records = repository.trash.records.range(beyond(page.after));
            let records = records.map(|(_, record)| Seen::Whole(record.trashed.clone()));
            Listing::first(page.limit, records)
        }))
    }

    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        let state = self.state();
        let found = state.repositories.get(repository);
        let document = found
            .and_then(|repository| repository.trash.records.get(id))
            .and_then(|record| record.document.clone());
        Ok(document.map_or(Document::Lost, Document::Whole))
    }

    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        let mut state = self.state();
        let found = state.repositories.get_mut(repository);
        let Some(record) = found.and_then(|repository| repository.trash.records.remove(id)) else {
            return Ok(false);
        };
        let Trashed {
            digest,
            manifest_deleted,
            ..
        } = record.trashed;
        // Otherwise it was put again, and keeps its content itself.
        if !(manifest_deleted && state.has_manifest(repository, &digest)) {
            let mut kept = state.closure(repository, digest);
            for named in record.named() {
                kept.extend(state.closure(repository, named));
            }
            state.forget_all(repository, kept);
        }
        state.suspect(repository, digest, SuspectCause::Forgotten);
        Ok(true)
    }

    async fn with_histories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let state = self.state();
        let moved = state
            .repositories
            .range(beyond(page.after))
            .filter(|(_, repository)| !repository.trash.histories.is_empty())
            .map(|(name, _)| Seen::Whole(name.clone()));
        Ok(Listing::first(page.limit, moved))
    }

    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        let mut state = self.state();
        let found = state.repositories.get_mut(repository);
        let Some(found) = found.filter(|found| !found.tags.contains_key(tag)) else {
            return Ok(false);
        };
        Ok(found.trash.forget_history(tag, ended_before))
    }

    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let histories = repository.trash.histories.range(beyond(page.after));
            Listing::first(page.limit, histories.map(|(tag, _)| tag.clone()))
        }))
    }

    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        let events = found.and_then(|repository| repository.trash.histories.get(tag));
        Ok(events.into_iter().flatten().cloned().collect())
    }

    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        let state = self.state();
        let found = state.repositories.get(repository);
        Ok(found.map_or_else(Listing::default, |repository| {
            let histories = repository.trash.histories.range(beyond(page.after));
            let lost = histories
                .filter(|(tag, _)| !repository.tags.contains_key(*tag))
                .filter_map(|(tag, events)| Some(LostTag::new(tag.clone(), events.back()?.target?)));
            Listing::first(page.limit, lost.map(Seen::Whole))
        }))
    }
}
