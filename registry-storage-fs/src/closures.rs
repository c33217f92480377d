//! The closure of a manifest: the content that it names, and all that these manifests name.
//!
//! A client that finds a manifest does not push what is below it. An index is therefore complete only if its whole
//! closure exists, and not only the manifests that it names.

use crate::{digest_locks::Key, known_closures::MOST, links, store::Store};
use registry_core::{
    Digest, RepositoryName,
    manifest::{Child, Manifest},
    storage::{Need, Needed, Result, StoredManifest},
};
use std::{collections::HashSet, sync::Arc};

/// Content that a manifest names, of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) digest: Digest,
    pub(crate) need: Need,
}

/// Content that a stored manifest names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) item: Item,
    /// True if the put of the manifest did not need it. It is kept where it exists.
    may_be_elsewhere: bool,
}

impl From<&Needed> for Item {
    fn from(needed: &Needed) -> Self {
        Self {
            digest: needed.digest,
            need: needed.need,
        }
    }
}

/// Everything below the content that a manifest needs, read before the manifest's section begins.
#[derive(Debug)]
pub(crate) struct Closure {
    /// Keys of all of it.
    pub(crate) keys: HashSet<Key>,
    /// Content to be looked for, each item once. What is known to be complete is not among it.
    pub(crate) items: Vec<Item>,
    /// Manifests that were read and name blobs alone, with the keys of these. No more than can be remembered.
    pub(crate) images: Vec<(Digest, Vec<Key>)>,
    /// Manifests that cannot be read.
    pub(crate) lost: Vec<Digest>,
    /// Number of removals at the beginning.
    pub(crate) began: u64,
    /// True if a part is known to be complete.
    is_known: bool,
}

/// Manifests below which nothing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    None,
    /// Closures that are known to be complete.
    Whole,
    /// Closures of which it is known what they consist of.
    Known,
}

/// A walk through the manifests below some needed content.
struct Walk<'a> {
    store: &'a Store,
    repository: &'a RepositoryName,
    closure: Closure,
    trust: Trust,
    visited: HashSet<Digest>,
    unread: Vec<Digest>,
    /// The items. Many manifests may name the same ones, and one may name them many times.
    found: HashSet<Item>,
    /// Number of the keys of the images.
    image_keys: usize,
}

impl Store {
    /// Reads the manifests below needed content. Unless `trusts` is set, also those that are known to be complete.
    pub(crate) fn closure(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
        trusts: bool,
    ) -> Result<Closure> {
        let trust = if trusts { Trust::Whole } else { Trust::None };
        let mut walk = Walk::new(self, repository, trust);
        for needed in needs.iter().filter(|needed| needed.need.admits_manifest()) {
            walk.visit(needed.digest);
        }
        walk.finish()
    }

    /// Returns the keys of what a manifest names, and of what is known to be below that. Reads nothing.
    pub(crate) fn closure_keys(&self, repository: &RepositoryName, stored: &StoredManifest) -> Arc<[Key]> {
        if let Some(known) = self.known_closures.keys(repository, &stored.digest) {
            return known;
        }
        let mut walk = Walk::new(self, repository, Trust::Known);
        walk.add(stored);
        let keys: Arc<[Key]> = walk.closure.keys.into_iter().collect();
        if walk.unread.is_empty() {
            self.known_closures
                .remember(repository, &stored.digest, &keys, None);
        }
        keys
    }

    /// Returns true if nothing was removed since that could belong to the parts that are known to be complete.
    pub(crate) fn is_current(&self, closure: &Closure) -> bool {
        !closure.is_known || self.known_closures.stand(&closure.keys, closure.began)
    }
}

impl<'a> Walk<'a> {
    fn new(store: &'a Store, repository: &'a RepositoryName, trust: Trust) -> Self {
        Self {
            store,
            repository,
            closure: Closure {
                keys: HashSet::new(),
                items: Vec::new(),
                images: Vec::new(),
                lost: Vec::new(),
                began: store.known_closures.removals(),
                is_known: false,
            },
            trust,
            visited: HashSet::new(),
            unread: Vec::new(),
            found: HashSet::new(),
            image_keys: 0,
        }
    }

    fn visit(&mut self, digest: Digest) {
        if !self.visited.insert(digest) {
            return;
        }
        let known = &self.store.known_closures;
        let keys = match self.trust {
            Trust::None => None,
            Trust::Whole => known.whole(self.repository, &digest),
            Trust::Known => known.keys(self.repository, &digest),
        };
        match keys {
            Some(keys) => {
                self.closure.keys.extend(keys.iter());
                self.closure.is_known = true;
            }
            None => self.unread.push(digest),
        }
    }

    /// Reads all that was visited, and what is below it.
    fn finish(mut self) -> Result<Closure> {
        while let Some(digest) = self.unread.pop() {
            self.store.require_open()?;
            let link = self.store.layout.revision(self.repository, &digest);
            if links::read_of(&link, &digest)?.is_none() {
                // A blob, or absent.
                continue;
            }
            match self.store.revision(self.repository, &digest)? {
                Some(stored) => self.add(&stored),
                None => self.closure.lost.push(digest),
            }
        }
        Ok(self.closure)
    }

    /// Adds what a manifest names.
    fn add(&mut self, stored: &StoredManifest) {
        let named = named_by(stored);
        let digests = named
            .iter()
            .map(|named| &named.item.digest)
            .chain([&stored.digest]);
        let keys: HashSet<Key> = digests
            .map(|digest| self.store.digest_locks.key(digest))
            .collect();
        self.closure.keys.extend(&keys);
        let needed = named.iter().filter(|named| !named.may_be_elsewhere);
        let items: Vec<Item> = needed.map(|named| named.item).collect();
        let is_image = !items.iter().any(|item| item.need.admits_manifest());
        if is_image && self.image_keys + keys.len() <= MOST {
            self.image_keys += keys.len();
            self.closure
                .images
                .push((stored.digest, keys.into_iter().collect()));
        }
        for item in items {
            if self.found.insert(item) {
                self.closure.items.push(item);
            }
            if item.need.admits_manifest() {
                self.visit(item.digest);
            }
        }
    }
}

/// Returns the content that a stored manifest names, without what cannot be stored here.
pub(crate) fn named_by(stored: &StoredManifest) -> Vec<Named> {
    // registry:2 accepted obsolete kinds of manifests, whose references are unknown.
    let Ok(manifest) = Manifest::parse_stored(&stored.bytes, &stored.media_type) else {
        return Vec::new();
    };
    let named = |child: &Child, need| {
        Some(Named {
            item: Item {
                digest: *child.digest.known()?,
                need,
            },
            may_be_elsewhere: child.is_nondistributable() || !child.urls.is_empty(),
        })
    };
    let blobs = manifest.blobs().iter().map(|child| named(child, Need::Blob));
    let entries = manifest
        .manifests()
        .iter()
        .map(|child| match child.is_manifest() {
            true => named(child, Need::Manifest),
            false => named(child, Need::Either),
        });
    blobs.chain(entries).flatten().collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        Durability, FsStorage, seams,
        support::{content, name, push, writer},
    };
    use bytes::Bytes;
    use registry_core::{
        Algorithm, Digest, MediaType,
        manifest::Manifest,
        storage::{Deletion, Need, Needed, PutManifest, Result, StorageError, Verified},
    };
    use std::path::Path;

    fn relaxed(root: &Path) -> FsStorage {
        let relaxed = FsStorage::options().durability(Durability::Relaxed);
        relaxed.open(root).unwrap()
    }

    fn of(media_type: &str, field: &str, named: &[&Needed], extra: &str) -> Verified<Bytes> {
        let entries = named.iter().map(|needed| {
            let kind = match needed.need {
                Need::Manifest => MediaType::OCI_MANIFEST,
                _ => "application/octet-stream",
            };
            let Needed { digest, size, .. } = needed;
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}{extra}}}"#)
        });
        let entries = entries.collect::<Vec<_>>().join(",");
        let document = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","{field}":[{entries}]}}"#);
        Verified::of(Algorithm::Sha256, document.into())
    }

    fn image(layers: &[&Needed]) -> Verified<Bytes> {
        of(MediaType::OCI_MANIFEST, "layers", layers, "")
    }

    fn index(entries: &[&Needed]) -> Verified<Bytes> {
        of(MediaType::OCI_INDEX, "manifests", entries, "")
    }

    fn needed(document: &Verified<Bytes>) -> Needed {
        Needed::new(*document.digest(), document.size(), Need::Manifest)
    }

    /// Puts a manifest that needs all that it names.
    async fn put(storage: &FsStorage, document: &Verified<Bytes>, needs: &[&Needed]) -> Result<()> {
        let media_type = Manifest::sniff_media_type(document.bytes());
        let mut put = PutManifest::new(document.clone(), media_type);
        put.needs = needs.iter().map(|needed| **needed).collect();
        let outcome = writer(storage).put_manifest(&name("a"), put).await;
        outcome.map(drop)
    }

    async fn layer(storage: &FsStorage, size: usize) -> Needed {
        let blob = push(storage, &name("a"), &content(size)).await;
        Needed::new(blob.digest, blob.size, Need::Blob)
    }

    async fn delete_blob(storage: &FsStorage, digest: &Digest) {
        let write = writer(storage);
        let deleted = write.delete_blob(&name("a"), digest, Deletion::new()).await;
        assert!(deleted.unwrap());
    }

    fn missing(put: &Result<()>) -> &[Digest] {
        match put {
            Err(StorageError::MissingReferences(missing)) => missing,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_index_is_refused_while_anything_below_its_entries_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let (first, second) = (layer(&storage, 10).await, layer(&storage, 20).await);
        let child = image(&[&first, &second]);
        put(&storage, &child, &[&first, &second]).await.unwrap();
        let inner = index(&[&needed(&child)]);
        put(&storage, &inner, &[&needed(&child)]).await.unwrap();
        let outer = index(&[&needed(&inner), &needed(&child)]);
        delete_blob(&storage, &first.digest).await;

        let refused = put(&storage, &outer, &[&needed(&inner), &needed(&child)]).await;

        assert_eq!(missing(&refused), [first.digest]);
        layer(&storage, 10).await;
        put(&storage, &outer, &[&needed(&inner), &needed(&child)])
            .await
            .unwrap();

        let write = writer(&storage);
        let a = name("a");
        let deleted = write.delete_manifest(&a, child.digest(), Deletion::new());
        assert!(deleted.await.unwrap().is_some());
        let refused = put(&storage, &index(&[&needed(&outer)]), &[&needed(&outer)]).await;
        assert_eq!(missing(&refused), [*child.digest()]);
    }

    /// A blob below a child may have been stored without a sync. The client that finds the child does not push it again.
    #[tokio::test]
    async fn all_below_an_index_is_durable_before_the_index_is_visible() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let layers = layer(&storage, 10).await;
        let child = image(&[&layers]);
        put(&storage, &child, &[&layers]).await.unwrap();
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();

        put(&storage, &index(&[&needed(&child)]), &[&needed(&child)])
            .await
            .unwrap();

        let store = storage.store();
        let layout = &store.layout;
        for path in [
            layout.blob(&layers.digest),
            layout.layer(&name("a"), &layers.digest),
        ] {
            assert!(store.disk.is_durable(&path), "{path:?}");
        }
    }

    #[tokio::test]
    async fn what_may_be_elsewhere_is_not_missing() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let absent = Needed::new(Digest::of(Algorithm::Sha256, b"absent"), 6, Need::Blob);
        let urls = r#","urls":["https://example.com/layer"]"#;
        let child = of(MediaType::OCI_MANIFEST, "layers", &[&absent], urls);
        put(&storage, &child, &[]).await.unwrap();
        drop(storage);
        let storage = relaxed(root.path());

        let parent = index(&[&needed(&child)]);
        put(&storage, &parent, &[&needed(&child)]).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_just_pushed_is_not_read_again_for_the_index() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let layers = layer(&storage, 10).await;
        let child = image(&[&layers]);
        put(&storage, &child, &[&layers]).await.unwrap();
        let document = storage.store().layout.blob(child.digest());
        let reads = |root: &Path| seams::watch(root).files;
        reads(&document);

        put(&storage, &index(&[&needed(&child)]), &[&needed(&child)])
            .await
            .unwrap();
        assert_eq!(reads(&document), 0);

        // The removal of anything else does not concern it. What is read after a removal is known again.
        for (size, expected) in [(20, [0, 0]), (10, [1, 0])] {
            layer(&storage, size).await;
            delete_blob(&storage, &Digest::of(Algorithm::Sha256, &content(size))).await;
            layer(&storage, size).await;
            for expected in expected {
                put(&storage, &index(&[&needed(&child)]), &[&needed(&child)])
                    .await
                    .unwrap();
                assert_eq!(reads(&document), expected, "{size}");
            }
        }
    }

    /// Its link is gone, and all that it names is there.
    #[tokio::test]
    async fn an_entry_of_an_entry_that_was_deleted_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let layers = layer(&storage, 10).await;
        let child = image(&[&layers]);
        put(&storage, &child, &[&layers]).await.unwrap();
        let inner = index(&[&needed(&child)]);
        put(&storage, &inner, &[&needed(&child)]).await.unwrap();
        let a = name("a");
        let deleted = writer(&storage)
            .delete_manifest(&a, child.digest(), Deletion::new())
            .await;
        assert!(deleted.unwrap().is_some());

        let refused = put(&storage, &index(&[&needed(&inner)]), &[&needed(&inner)]).await;

        assert_eq!(missing(&refused), [*child.digest()]);
    }

    /// An index may name any number of manifests, which name the same content any number of times.
    #[tokio::test]
    async fn what_is_named_many_times_is_in_a_closure_once() {
        let root = tempfile::tempdir().unwrap();
        let storage = relaxed(root.path());
        let (shared, own) = (layer(&storage, 10).await, layer(&storage, 20).await);
        let [first, second] = [[&shared; 50].to_vec(), [[&shared; 50], [&own; 50]].concat()];
        let mut needs = Vec::new();
        for layers in [first, second] {
            let child = image(&layers);
            put(&storage, &child, &layers).await.unwrap();
            needs.push(needed(&child));
        }

        let closure = storage.store().closure(&name("a"), &needs, false).unwrap();

        assert_eq!((closure.items.len(), closure.keys.len()), (2, 4));
        assert_eq!(
            closure.images.iter().map(|(_, keys)| keys.len()).sum::<usize>(),
            5
        );
    }
}
