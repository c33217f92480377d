//! The manifests of a repository, as retention reads them: all, or an error.

use super::graph::Graph;
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{Document, HeldManifest, Page, Seen, StorageError, StorageInspect},
};

/// Number of items that are listed at once.
const PAGE: usize = 1000;

/// Lists all manifests of a repository.
pub(super) async fn manifests(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
) -> Result<Vec<HeldManifest>, StorageError> {
    let mut manifests: Vec<HeldManifest> = Vec::new();
    loop {
        let after = manifests.last().map(|last| last.digest);
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = inspect.manifests(repository, page).await?;
        for seen in listed.items {
            match seen {
                Seen::Whole(manifest) => manifests.push(manifest),
                Seen::Unreadable { key, reason } => {
                    return Err(StorageError::internal(format!(
                        "cannot read the manifest {key}: {reason}"
                    )));
                }
            }
        }
        if !listed.more {
            return Ok(manifests);
        }
    }
}

/// Reads all manifests of a repository. One that cannot be read may refer to any other, so it is an error.
pub(super) async fn read_manifests(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
) -> Result<Graph, StorageError> {
    let mut graph = Graph::default();
    for HeldManifest { digest, put, .. } in manifests(inspect, repository).await? {
        let whole = match inspect.document(repository, &digest).await? {
            Document::Whole(stored) => graph.add(&stored, put),
            Document::Damaged(_) | Document::Lost => false,
        };
        if !whole && is_there(inspect, repository, &digest).await? {
            return Err(StorageError::internal(format!(
                "the manifest {digest} is damaged, and may refer to any other one; delete it, or push it again"
            )));
        }
    }
    Ok(graph)
}

/// Returns false if a client has deleted the manifest since it was listed.
async fn is_there(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, StorageError> {
    let listed = manifests(inspect, repository).await?;
    Ok(listed.iter().any(|manifest| manifest.digest == *digest))
}
