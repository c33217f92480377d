//! Complete listings of a storage, read page by page, and the manifests in them.

use super::operation::BoxError;
use registry_core::{
    AnyDigest, Digest, MediaType, Registry, RepositoryName,
    manifest::{Child, Manifest},
    storage::{Document, Listing, Page, Result, Seen, StorageError, StorageInspect},
};
use std::collections::HashMap;

/// Number of items on a page.
const PAGE: usize = 1000;

/// Position in a strict listing.
#[derive(Debug)]
pub(super) struct Cursor<K> {
    after: Option<K>,
    more: bool,
}

/// An item of a strict listing, or the key of one that cannot be read, with the cause.
pub(super) type Read<T, K = T> = std::result::Result<T, (K, String)>;

impl<K: Clone> Cursor<K> {
    pub(super) const fn start() -> Self {
        Self::after(None)
    }

    /// Begins with the first item after this key.
    pub(super) const fn after(key: Option<K>) -> Self {
        Self {
            after: key,
            more: true,
        }
    }

    /// Returns the page to ask for; `None` after the last one.
    pub(super) fn page(&self) -> Option<Page<'_, K>> {
        self.more.then(|| Page::first(PAGE).after(self.after.as_ref()))
    }

    /// Takes the items of a page.
    pub(super) fn advance<T>(
        &mut self,
        listing: Listing<Seen<T, K>>,
        key: impl Fn(&T) -> K,
    ) -> Vec<Read<T, K>> {
        let items: Vec<_> = listing.items.into_iter().map(Seen::read).collect();
        self.more = listing.more && !items.is_empty();
        self.after = items.last().map(|item| match item {
            Ok(item) => key(item),
            Err((key, _)) => key.clone(),
        });
        items
    }
}

/// Returns the plane for inspection of a registry's storage.
pub(super) fn inspect(registry: &Registry) -> Result<&dyn StorageInspect> {
    let inspect = registry.storage().inspect();
    inspect.ok_or(StorageError::Unsupported("list its content"))
}

/// Fails if nothing of a repository is stored.
pub(super) async fn require(registry: &Registry, name: &RepositoryName) -> std::result::Result<(), BoxError> {
    if registry.storage().tags(name, Page::first(0)).await?.is_some() {
        return Ok(());
    }
    let inspect = inspect(registry)?;
    // Layers whose manifest was never pushed, or uploads.
    let is_used = !inspect.held_blobs(name, Page::first(1)).await?.items.is_empty()
        || !inspect.uploads(name, Page::first(1)).await?.items.is_empty();
    match is_used {
        true => Ok(()),
        false => Err(format!("there is no repository {name}").into()),
    }
}

/// Readable part of a manifest.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) media_type: MediaType,
    pub(super) subject: Option<Digest>,
    /// Children of an index that the registry can hold.
    pub(super) children: Vec<Digest>,
    /// Content that the manifest consists of, with sizes: itself, its config and its layers.
    pub(super) own: Vec<(Digest, u64)>,
}

/// Result of reading a manifest.
#[derive(Debug)]
pub(super) enum Found {
    Image(Image),
    /// The bytes are damaged, or are no manifest.
    Damaged,
    /// There are no bytes.
    Lost,
}

/// Reads a manifest of a repository.
pub(super) async fn image(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Found> {
    let stored = match inspect.document(repository, digest).await? {
        Document::Whole(stored) => stored,
        Document::Lost => return Ok(Found::Lost),
        _ => return Ok(Found::Damaged),
    };
    let Ok(manifest) = Manifest::parse_stored(&stored.bytes, &stored.media_type) else {
        return Ok(Found::Damaged);
    };
    let known = |digest: &AnyDigest| digest.known().copied();
    let held = |child: &&Child| !child.is_nondistributable() || child.urls.is_empty();
    let blobs = manifest.blobs().iter().filter(held);
    let blobs = blobs.filter_map(|child| Some((known(&child.digest)?, child.size)));
    Ok(Found::Image(Image {
        media_type: stored.media_type,
        subject: manifest.subject().and_then(known),
        children: manifest
            .manifests()
            .iter()
            .filter_map(|child| known(&child.digest))
            .collect(),
        own: std::iter::once((*digest, stored.bytes.len() as u64))
            .chain(blobs)
            .collect(),
    }))
}

/// Returns the number of bytes of a manifest with everything that it refers to, each content once.
pub(super) async fn size(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
    image: Image,
) -> Result<u64> {
    let mut content: HashMap<Digest, u64> = HashMap::new();
    let mut open = vec![image];
    while let Some(image) = open.pop() {
        content.extend(image.own);
        for child in image.children {
            if content.contains_key(&child) {
                continue;
            }
            // Also for a child that is absent, so that it is looked for once.
            content.insert(child, 0);
            if let Found::Image(child) = self::image(inspect, repository, &child).await? {
                open.push(child);
            }
        }
    }
    Ok(content.values().sum())
}
