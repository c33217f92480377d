//! The faults of writes.

use super::{Fault::*, Mutant};
use async_trait::async_trait;
use registry_core::{
    Digest, RepositoryName, Tag, forward_storage,
    hash::Hasher,
    storage::{
        BlobInfo, Deletion, Mount, NewUpload, Page, PutManifest, PutOutcome, Result, Storage, StorageError,
        StorageWrite, TagExpect, UploadBody, UploadState, Verified,
    },
    upload_id::UploadId,
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for Mutant {
    forward_storage! {
        StorageWrite: self => self.memory.write();
        except open_upload, upload, append, rehash, commit, cancel, mount, put_manifest, delete_tag, delete_manifest,
            delete_blob
    }

    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let new = match self.fault {
            UploadersForgotten => new.by(None),
            _ => new,
        };
        self.writer().open_upload(repository, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        if self.second && self.has(SessionsOverstated) {
            return Ok(None);
        }
        self.writer().upload(repository, id).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let is_small = body.remaining().is_none_or(|bytes| bytes < 1024);
        if is_small && self.has(SmallChunksRefused) {
            return Err(StorageError::Unsupported("store small chunks"));
        }
        self.writer().append(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let state = match self.writer().upload(repository, &state.id).await? {
            Some(current) if self.has(VersionsIgnored) => current,
            _ => state,
        };
        self.writer().rehash(repository, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let known = self.writer().upload(repository, &state.id).await?;
        if known.is_none() && self.has(CommitsNotRepeatable) {
            return Err(StorageError::UploadUnknown);
        }
        let state = match self.writer().upload(repository, proof.upload()).await? {
            Some(proved) if self.has(ProofsTransferable) => proved,
            _ => state,
        };
        self.writer().commit(repository, state, proof).await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        if self.has(CancelForgotten) {
            return Ok(self.writer().upload(repository, id).await?.is_some());
        }
        self.writer().cancel(repository, id).await
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let from = self.holder(MountSourceIgnored, mount.from, mount.digest).await;
        let from_holder = Mount::new(&from, mount.digest).by(mount.by);
        self.writer().mount(to, from_holder).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        if self.has(NeedsIgnored) {
            put.needs.clear();
        }
        if self.has(ReferrersForgotten) {
            put.referrer = None;
        }
        if self.has(MoversForgotten) {
            put.by = None;
        }
        put.restores &= !self.has(RestoresForgotten);
        if self.has(ExpectationsIgnored) || self.has(ConditionsIgnored) {
            put.tags
                .iter_mut()
                .for_each(|moved| moved.expect = TagExpect::Any);
        }
        let mut outcome = self.writer().put_manifest(repository, put).await;
        if let Err(StorageError::MissingReferences(missing)) = &mut outcome
            && self.has(OneMissingNamed)
        {
            missing.truncate(1);
        }
        outcome
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let expect = if self.has(DeletionsUnconditional) {
            TagExpect::Any
        } else {
            expect
        };
        let expect = match expect {
            TagExpect::Unchanged(target, _) if self.has(VersionsOfTargets) => TagExpect::Is(target),
            expect => expect,
        };
        let how = self.deletion(how);
        self.writer().delete_tag(repository, tag, expect, how).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let how = self.deletion(how);
        self.writer().delete_manifest(repository, digest, how).await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        let deleted = self.writer().delete_blob(repository, digest, how.clone()).await?;
        if self.has(BlobsDeletedEverywhere) {
            let everybody = Page::first(usize::MAX);
            for holder in self.memory.holders(digest, everybody).await?.items {
                self.writer().delete_blob(&holder, digest, how.clone()).await?;
            }
        }
        Ok(deleted)
    }
}
