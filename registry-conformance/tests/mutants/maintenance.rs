//! The faults of the planes for maintenance.

use super::{Fault::*, Mutant};
use async_trait::async_trait;
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, forward_storage,
    storage::{
        Checked, Document, Fault as RecordFault, FaultKind, HeldManifest, Listing, LostTag, Page,
        QuarantineId, Quarantined, Record, Result, Seen, Storage, StorageInspect, StorageRepair,
        StorageTrash, TagEvent, TagTarget, TagVersion, TrashId, Trashed, UploadState,
    },
    upload_id::UploadId,
};
use std::time::{Duration, SystemTime};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageInspect for Mutant {
    forward_storage! {
        StorageInspect: self => self.memory.inspect();
        except all_repositories, document, manifests, tag_targets, tags_of, uploading, uploads
    }

    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        if self.has(EmptyRepositoriesHidden) {
            let Listing { items, more, .. } = self.memory.repositories(page).await?;
            let items = items.into_iter().map(Seen::Whole).collect();
            return Ok(Listing::new(items, more));
        }
        self.memory.all_repositories(page).await
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        match self.memory.document(repository, digest).await? {
            Document::Lost if self.has(LossHidden) => Ok(Document::Damaged(bytes::Bytes::new())),
            found => Ok(found),
        }
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let mut listed = self.memory.manifests(repository, page).await?;
        for manifest in &mut listed.items {
            if let Seen::Whole(manifest) = manifest
                && self.has(PutsUntimed)
            {
                manifest.put = Some(SystemTime::UNIX_EPOCH);
            }
        }
        Ok(listed)
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let mut listed = self.memory.tag_targets(repository, page).await?;
        for (second, target) in (0..).zip(&mut listed.items) {
            let Seen::Whole(target) = target else { continue };
            if self.has(MovesUntimed) {
                // The tags of the case were created in the order of their names.
                target.moved = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            }
            if self.has(VersionsOfTargets) {
                target.version = Some(TagVersion::new(1));
            }
        }
        Ok(listed)
    }

    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        if self.has(TargetsIgnored) {
            let all = self.memory.tags(repository, page).await?;
            return Ok(all.unwrap_or_default());
        }
        self.memory.tags_of(repository, digest, page).await
    }

    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        if self.has(SessionsUnlisted) {
            return Ok(Listing::default());
        }
        self.memory.uploading(page).await
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let mut listed = self.memory.uploads(repository, page).await?;
        for session in &mut listed.items {
            if let Seen::Whole(state) = session
                && self.has(UploadersUnlisted)
            {
                state.opened_by = None;
            }
        }
        Ok(listed)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageTrash for Mutant {
    forward_storage! {
        StorageTrash: self => self.memory.trash();
        except deleted, deleted_document, forget, forget_history, with_history, history, lost_tags
    }

    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        if self.has(RecordsUnlisted) {
            return Ok(Listing::default());
        }
        self.memory.deleted(repository, page).await
    }

    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        if self.has(DeletedBytesLost) {
            return Ok(Document::Lost);
        }
        self.memory.deleted_document(repository, id).await
    }

    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        if self.has(RecordsKept) {
            return Ok(true);
        }
        self.memory.forget(repository, id).await
    }

    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        let forgotten = self.memory.forget_history(repository, tag, ended_before).await?;
        Ok(forgotten || self.has(HistoriesOfTagsForgotten))
    }

    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>> {
        if self.has(DeletedTagsUnlisted) {
            let existing = self.memory.tags(repository, page).await?;
            return Ok(existing.unwrap_or_default());
        }
        self.memory.with_history(repository, page).await
    }

    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let mut events = self.memory.history(repository, tag).await?;
        if self.has(PutsAgainForgotten) {
            events.iter_mut().for_each(|event| event.put_again = None);
        }
        Ok(events)
    }

    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        if !self.has(DeletionsTakenForLosses) {
            return self.memory.lost_tags(repository, page).await;
        }
        let mut lost = Vec::new();
        for tag in self.memory.with_history(repository, page).await?.items {
            let last = self.memory.history(repository, &tag).await?.pop();
            let was = last.and_then(|last| last.was);
            lost.extend(was.map(|was| Seen::Whole(LostTag::new(tag, was))));
        }
        Ok(Listing::new(lost, false))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageRepair for Mutant {
    forward_storage! {
        StorageRepair: self => self.memory.repair();
        except check, quarantined, faults, fault, save_progress
    }

    async fn check(&self, digest: &Digest) -> Result<Checked> {
        match self.memory.check(digest).await? {
            Checked::Absent if self.has(AbsenceHidden) => Ok(Checked::sound(0)),
            found => Ok(found),
        }
    }

    async fn quarantined(&self, page: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>> {
        if self.has(QuarantineInvented) {
            let id = QuarantineId::new(Digest::of(Algorithm::Sha256, b"invented"), 1);
            return Ok(Listing::new(
                vec![Quarantined::new(id, 8, "here", "invented")],
                false,
            ));
        }
        self.memory.quarantined(page).await
    }

    async fn faults(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Record>,
    ) -> Result<Listing<RecordFault>> {
        if self.has(FaultsInvented) {
            let fault = RecordFault::new(Record::Referrers, FaultKind::Garbled, "here", "invented");
            return Ok(Listing::new(vec![fault], false));
        }
        self.memory.faults(repository, page).await
    }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<RecordFault>> {
        let found = self.memory.fault(repository, record).await?;
        Ok(found.filter(|_| !self.has(MissingIsSound)))
    }

    async fn save_progress(&self, progress: Vec<u8>) -> Result<()> {
        if self.has(ProgressForgotten) {
            return Ok(());
        }
        self.memory.save_progress(progress).await
    }
}
