//! The content of the registry, as the control API shows it.

use registry_core::{
    RepositoryName,
    storage::{Listing, Page, Result, Seen, Storage, StorageError, StorageInspect},
};
use serde_json::{Map, Value, json};

/// Most items of a listing. A test has fewer.
const ALL: usize = 1_000_000;

/// Returns what is stored: `repositories`, with `tags` and `manifests`, and open `uploads`.
pub(super) async fn state(storage: &impl Storage) -> Result<Value> {
    let inspect = inspect(storage)?;
    let mut repositories = Map::new();
    for name in whole(inspect.all_repositories(Page::first(ALL)).await?) {
        let manifests = whole(inspect.manifests(&name, Page::first(ALL)).await?);
        let manifests: Vec<_> = manifests.map(|manifest| manifest.digest.to_string()).collect();
        let tags = whole(inspect.tag_targets(&name, Page::first(ALL)).await?);
        let tags: Map<_, _> = tags
            .map(|target| (target.tag.to_string(), target.digest.to_string().into()))
            .collect();
        repositories.insert(name.to_string(), json!({ "tags": tags, "manifests": manifests }));
    }
    let mut uploads = Vec::new();
    for name in uploading(inspect).await? {
        for upload in whole(inspect.uploads(&name, Page::first(ALL)).await?) {
            uploads.push(json!({
                "repository": name.as_str(),
                "id": upload.id.to_string(),
                "offset": upload.offset,
            }));
        }
    }
    Ok(json!({ "repositories": repositories, "uploads": uploads }))
}

fn inspect(storage: &impl Storage) -> Result<&dyn StorageInspect> {
    storage
        .inspect()
        .ok_or(StorageError::Unsupported("inspect content"))
}

async fn uploading(inspect: &dyn StorageInspect) -> Result<Vec<RepositoryName>> {
    Ok(whole(inspect.uploading(Page::first(ALL)).await?).collect())
}

/// Returns the items that can be read, which in memory are all.
fn whole<T, K>(listing: Listing<Seen<T, K>>) -> impl Iterator<Item = T> {
    listing.items.into_iter().filter_map(Seen::whole)
}
