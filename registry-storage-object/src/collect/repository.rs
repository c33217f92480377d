//! Removal of repositories that hold nothing.

use super::reclaim::Removal;
use crate::{
    bucket::{Condition, Fence, Sent},
    keys,
    scans::at_once,
    store::Store,
};
use registry_core::{
    RepositoryName,
    storage::{Reclaimed, Result},
};

impl Store {
    /// Removes what is left of a repository, if it holds nothing.
    pub(super) async fn remove_repository(&self, repository: &RepositoryName, fence: Fence) -> Removal {
        match self.remove_leftovers(repository, fence).await {
            Ok(Some(result)) => Removal::answered(result),
            Ok(None) => Removal::unclear(Reclaimed::InUse),
            // Others of its requests may be on their way.
            Err(error) => Removal::unclear(Reclaimed::Failed(error)),
        }
    }

    /// Returns `None` if the outcome is unclear.
    async fn remove_leftovers(&self, repository: &RepositoryName, fence: Fence) -> Result<Option<Reclaimed>> {
        let (tags, layers) = (keys::tags(repository), keys::all_layers(repository));
        let mut left: Vec<String> = Vec::new();
        for object in self.list_twice(&keys::manifests(repository)).await? {
            // What is neither a revision nor a tag is registry:2's list of past targets.
            let is_tag = object.size > 0 && keys::current_tag(&tags, &object.key).is_some();
            if is_tag || keys::linked(&keys::all_revisions(repository), &object.key).is_some() {
                return Ok(Some(Reclaimed::InUse));
            }
            left.push(object.key);
        }
        // Last: registry:2's collector fails if a repository has manifests and no layers.
        for object in self.list_twice(&layers).await? {
            if keys::linked(&layers, &object.key).is_some() {
                return Ok(Some(Reclaimed::InUse));
            }
            left.push(object.key);
        }
        for derived in [keys::media_types(repository), keys::referrers(repository)] {
            left.extend(
                self.list_all(&derived)
                    .await?
                    .into_iter()
                    .map(|object| object.key),
            );
        }
        let removals = left
            .iter()
            .map(|key| self.bucket.delete_once(key, &Condition::Any, Some(fence)));
        match at_once(removals).await? {
            sent if sent.contains(&Sent::Unclear) => return Ok(None),
            sent if sent.contains(&Sent::Expired) => return Ok(Some(Reclaimed::InUse)),
            _ => {}
        }
        Ok(Some(
            match self.forget_repository(repository, Some(fence)).await? {
                true => Reclaimed::removed(0),
                false => Reclaimed::InUse,
            },
        ))
    }
}
