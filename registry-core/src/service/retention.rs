//! Retention: tags and manifests that rules drop, with the hooks and events of deletions.

use super::{
    Authority, Registry,
    operation::{Before, Operation},
};
use crate::{
    digest::Digest,
    error::{BoxError, Error},
    hooks::{EventKind, Target},
    maintenance::retention::{Expire, Retain, Retained, retain},
    name::RepositoryName,
    reference::Tag,
    storage::{Deletion, StorageError, TagExpect},
};
use async_trait::async_trait;

/// Name of the user who deletes, in the history and the trash.
const BY: &str = "retention";

impl Registry {
    /// Drops the tags that rules of retention drop, and the manifests that lose their last tag in this way.
    ///
    /// - Hooks are asked about each tag, and receive the events of the deletions. Clients need not be able to delete.
    /// - The entries of an index and the referrers of a manifest go with it. A manifest stays if another tag, an index or
    ///   a client uses it.
    /// - A run that would drop more than half of the tags of a rule drops none, unless it is
    ///   [forced](Retain::force).
    /// - In a repository with a damaged manifest, or an unreadable tag, nothing is dropped.
    ///
    /// Removal of manifests needs a storage that [collects](crate::Storage::collect). Otherwise they stay, without a tag.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`] if the repositories cannot be listed. [`Unsupported`](StorageError::Unsupported) if the
    /// storage cannot be inspected.
    pub async fn retain(&self, rules: &Retain<'_>) -> Result<Retained, StorageError> {
        retain(&**self.storage(), self, rules).await
    }
}

#[async_trait]
impl Expire for Registry {
    async fn expire_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<bool, BoxError> {
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
        let how = Deletion::new().by(Some(BY.into()));
        let deleted = write
            .delete_tag(repository.name(), tag, TagExpect::Is(*digest), how)
            .await;
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

    fn manifest_removed(&self, repository: &RepositoryName, digest: &Digest, size: Option<u64>) {
        let repository = self.scope(repository.clone(), Authority::host());
        Operation::begin(&repository).end(|| EventKind::ManifestDeleted {
            digest: *digest,
            size,
            tags: Vec::new(),
        });
    }
}
