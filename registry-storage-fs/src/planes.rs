//! The contracts: each call is passed to its module.

use crate::{FsStorage, referrers::Question};
use async_trait::async_trait;
use registry_core::{
    Descriptor, Digest, Reference, RepositoryName, Tag, UploadId,
    hash::Hasher,
    storage::{
        Abilities, BlobInfo, BlobRead, Census, Deletion, Document, Due, HeldBlob, HeldManifest, Listing,
        LostTag, Mount, NewUpload, Page, PutManifest, PutOutcome, ReadBlob, Reclaimed, Referring, Result,
        Run, Seen, Storage, StorageCollect, StorageError, StorageExpire, StorageHealth, StorageInspect,
        StorageRepair, StorageTrash, StorageWrite, StoredManifest, Suspect, TagEvent, TagExpect, TagTarget,
        Terms, TrashId, Trashed, UploadBody, UploadState, Verified, Victim, Waiting,
    },
};
use std::{sync::Arc, time::SystemTime};

/// A page that owns its bound, so that it can move to another thread.
pub(crate) struct OwnedPage<K> {
    after: Option<K>,
    limit: usize,
}

impl<K: Clone> OwnedPage<K> {
    pub(crate) fn of(page: &Page<'_, K>) -> Self {
        Self {
            after: page.after.cloned(),
            limit: page.limit,
        }
    }

    pub(crate) const fn page(&self) -> Page<'_, K> {
        Page::first(self.limit).after(self.after.as_ref())
    }
}

#[async_trait]
impl Storage for FsStorage {
    fn abilities(&self) -> Abilities {
        let store = self.store();
        Abilities::none()
            .with_exclusive(store.is_owned())
            .with_conditional_tags(true)
            .with_shared_sessions(true)
            .with_durable(store.disk.syncs())
            .with_holders(store.is_owned())
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.blocking(move |store| store.promised_blob(&repository, &digest))
            .await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.blocking(move |store| store.open_blob(&repository, &digest, how))
            .await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.blocking(move |store| store.manifest(&repository, &reference))
            .await
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.blocking(move |store| store.tags(&repository, &page.page()))
            .await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        self.list_referrers(Question {
            repository: repository.clone(),
            subject: *of.subject,
            artifact_type: of.artifact_type.map(Arc::from),
            after: page.after.copied(),
            limit: page.limit,
        })
        .await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let page = OwnedPage::of(&page);
        self.blocking(move |store| store.repositories(&page.page())).await
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        Ok(self.store().holders(digest, &page))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.store().is_owned().then_some(self as &dyn StorageWrite)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.store().is_owned().then_some(self as &dyn StorageExpire)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.store().can_preview().then_some(self as &dyn StorageCollect)
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
impl StorageWrite for FsStorage {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let repository = repository.clone();
        self.writing(move |store| store.open_upload(&repository, &new))
            .await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        let (repository, id) = (repository.clone(), *id);
        self.writing(move |store| store.upload(&repository, &id)).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        self.append_body(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let repository = repository.clone();
        self.writing(move |store| store.rehash(&repository, &state, hasher))
            .await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let repository = repository.clone();
        self.writing(move |store| store.commit(&repository, &state, &proof))
            .await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        let (repository, id) = (repository.clone(), *id);
        self.writing(move |store| store.cancel(&repository, &id)).await
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let (from, to, digest) = (mount.from.clone(), to.clone(), *mount.digest);
        self.writing(move |store| store.mount(&from, &to, &digest)).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let repository = repository.clone();
        self.writing(move |store| store.put_manifest(&repository, put))
            .await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writing(move |store| store.delete_tag(&repository, &tag, expect, &how))
            .await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        self.delete_manifest_and_tags(repository, digest, how).await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, _: Deletion) -> Result<bool> {
        let (repository, digest) = (repository.clone(), *digest);
        self.writing(move |store| store.delete_blob(&repository, &digest))
            .await
    }
}

#[async_trait]
impl StorageInspect for FsStorage {
    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let page = OwnedPage::of(&page);
        self.inspecting(move |store| store.all_repositories(&page.page()))
            .await
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        self.inspect_document(repository, digest).await
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.tag_targets(&repository, &page.page()))
            .await
    }

    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        self.list_tags_of(repository, digest, page.after.cloned(), page.limit)
            .await
    }

    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        let page = OwnedPage::of(&page);
        self.inspecting(move |store| store.all_blobs(&page.page())).await
    }

    async fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.held_blobs(&repository, &page.page()))
            .await
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.manifests(&repository, &page.page()))
            .await
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.uploads(&repository, &page.page()))
            .await
    }

    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let page = OwnedPage::of(&page);
        if !self.store().is_owned() {
            // Sessions come and go without this process, and not all have a record.
            return self
                .inspecting(move |store| store.uploading_on_disk(&page.page()))
                .await;
        }
        self.find_uploads().await?;
        self.inspecting(move |store| store.uploading(&page.page())).await
    }
}

#[async_trait]
impl StorageExpire for FsStorage {
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        let (repository, seen) = (repository.clone(), seen.clone());
        self.writing(move |store| store.expire_upload(&repository, &seen))
            .await
    }
}

#[async_trait]
impl StorageCollect for FsStorage {
    fn is_own(&self) -> bool {
        self.is_own_directory()
    }

    async fn expected_manifests(&self) -> Result<Option<u64>> {
        self.inspecting(|store| store.expected_manifests()).await
    }

    async fn begin(&self, terms: Terms) -> Result<Run> {
        self.begin_run(terms).await
    }

    async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        self.preview(terms, victims).await
    }

    async fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>> {
        let blobs = blobs.to_vec();
        self.inspecting(move |store| store.released(&blobs)).await
    }

    async fn condemn(&self, run: &Run, _: &[Victim]) -> Result<Waiting> {
        self.require_run(run)?;
        Ok(Waiting::Ready)
    }

    async fn reclaim(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        self.reclaim_items(run, victims).await
    }

    async fn end(&self, run: Run, seen: Census) -> Result<()> {
        self.end_run(run, seen).await
    }

    async fn suspects(&self, after: u64, limit: usize) -> Result<Vec<Suspect>> {
        Ok(self.store().collecting.suspects(after, limit))
    }
}

#[async_trait]
impl StorageTrash for FsStorage {
    async fn with_deleted(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let page = OwnedPage::of(&page);
        self.inspecting(move |store| store.with_deleted(&page.page()))
            .await
    }

    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.deleted(&repository, &page.page()))
            .await
    }

    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        let (repository, id) = (repository.clone(), *id);
        self.inspecting(move |store| store.deleted_document(&repository, &id))
            .await
    }

    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        if !self.store().is_owned() {
            return Err(StorageError::ReadOnly);
        }
        let (repository, id) = (repository.clone(), *id);
        self.writing(move |store| store.forget_deletion(&repository, &id))
            .await
    }

    async fn with_histories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let page = OwnedPage::of(&page);
        self.inspecting(move |store| store.with_histories(&page.page()))
            .await
    }

    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        if !self.store().is_owned() {
            return Err(StorageError::ReadOnly);
        }
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writing(move |store| store.forget_history(&repository, &tag, ended_before))
            .await
    }

    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.with_history(&repository, &page.page()))
            .await
    }

    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        let (repository, page) = (repository.clone(), OwnedPage::of(&page));
        self.inspecting(move |store| store.lost_tags(&repository, &page.page()))
            .await
    }

    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.inspecting(move |store| store.history(&repository, &tag))
            .await
    }
}
