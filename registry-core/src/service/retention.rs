//! Deletions of tags and manifests that rules of retention drop, with hooks and events.

use super::{
    Authority, Registry,
    operation::{Before, Operation},
};
use crate::{
    digest::Digest,
    error::Error,
    hooks::{EventKind, Target},
    name::RepositoryName,
    reference::Tag,
    storage::{Deletion, StorageError, TagExpect},
};

impl Registry {
    /// Deletes a tag that points at a manifest, which has this number of bytes, if the tag is as `expect` says. Returns
    /// false if it is not.
    pub(crate) async fn expire_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        expect: TagExpect,
        size: Option<u64>,
        how: Deletion,
    ) -> Result<bool, Error> {
        let repository = self.scope(repository.clone(), Authority::host());
        let write = self.storage().write().ok_or(Error::ReadOnly)?;
        let mut operation = Operation::begin(&repository);
        // The manifest is not read: a storage would take that for a use of it.
        let target = Target::Tag {
            tag: tag.clone(),
            digest: Some(*digest),
            size,
        };
        operation.ask(Before::Delete(&target)).await?;
        let deleted = write.delete_tag(repository.name(), tag, expect, how).await;
        match deleted {
            Ok(None) | Err(StorageError::TagConflict { .. }) => Ok(false),
            Ok(Some(digest)) => {
                operation.end(|| EventKind::TagDeleted {
                    tag: tag.clone(),
                    digest,
                });
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reports the removal of a manifest that has lost its last tag.
    pub(crate) fn manifest_removed(&self, repository: &RepositoryName, digest: &Digest, size: Option<u64>) {
        let repository = self.scope(repository.clone(), Authority::host());
        Operation::begin(&repository).end(|| EventKind::ManifestDeleted {
            digest: *digest,
            size,
            tags: Vec::new(),
        });
    }
}
