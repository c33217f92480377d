//! Changes by [`PrefixStorage`].

use super::PrefixStorage;
use crate::{
    digest::Digest,
    hash::Hasher,
    name::RepositoryName,
    reference::Tag,
    storage::{
        content::BlobInfo,
        deletion::Deletion,
        error::{Result, StorageError},
        mount::Mount,
        new_upload::NewUpload,
        put::{PutManifest, PutOutcome, TagExpect},
        read::Storage,
        upload::{UploadBody, UploadState, Verified},
        write::StorageWrite,
    },
    upload_id::UploadId,
};
use async_trait::async_trait;

impl<S: Storage> PrefixStorage<S> {
    fn writer(&self) -> Result<&dyn StorageWrite> {
        self.storage.write().ok_or(StorageError::ReadOnly)
    }

    /// Returns the repository of a session. One whose name is too long has no sessions.
    fn of_session(&self, repository: &RepositoryName) -> Result<RepositoryName> {
        self.prefix.find(repository)?.ok_or(StorageError::UploadUnknown)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageWrite for PrefixStorage<S> {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let full = self.prefix.full(repository)?;
        self.writer()?.open_upload(&full, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        match self.prefix.find(repository)? {
            Some(full) => self.writer()?.upload(&full, id).await,
            None => Ok(None),
        }
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let full = self.of_session(repository)?;
        self.writer()?.append(&full, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let full = self.of_session(repository)?;
        self.writer()?.rehash(&full, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let full = self.of_session(repository)?;
        let blob = self.writer()?.commit(&full, state, proof).await?;
        Ok(self.held(repository, blob))
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        match self.prefix.find(repository)? {
            Some(full) => self.writer()?.cancel(&full, id).await,
            None => Ok(false),
        }
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let full = self.prefix.full(to)?;
        // The source is below the prefix as well, whatever its name is.
        let Some(from) = self.prefix.find(mount.from)? else {
            return Ok(None);
        };
        let mount = Mount { from: &from, ..mount };
        let blob = self.writer()?.mount(&full, mount).await?;
        Ok(blob.map(|blob| self.held(to, blob)))
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let full = self.prefix.full(repository)?;
        self.writer()?.put_manifest(&full, put).await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        match self.prefix.find(repository)? {
            Some(full) => self.writer()?.delete_tag(&full, tag, expect, how).await,
            None if expect.admits(None, None) => Ok(None),
            None => Err(StorageError::tag_conflict(tag.clone(), None)),
        }
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        match self.prefix.find(repository)? {
            Some(full) => self.writer()?.delete_manifest(&full, digest, how).await,
            None => Ok(None),
        }
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        let Some(full) = self.prefix.find(repository)? else {
            return Ok(false);
        };
        let deleted = self.writer()?.delete_blob(&full, digest, how).await?;
        self.holders.remove(digest, repository);
        Ok(deleted)
    }
}
