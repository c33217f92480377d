//! Listings for readers: tags and repositories, in byte order.

use crate::{
    indexing::{Repositories, TagsOf},
    keys,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Listing, Page, Result},
};
use std::{collections::BTreeSet, ops::Bound};

impl Store {
    /// Lists the tags of a repository, or returns `None` if it does not exist.
    pub(crate) async fn tag_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>> {
        let index = match self.indexes.tags_of(repository) {
            Some(index) => index,
            None => match self.few_tags(repository).await? {
                Some(tags) if tags.is_empty() && !self.exists(repository).await? => return Ok(None),
                Some(tags) => return Ok(Some(page_of(&tags, &page))),
                None => self.indexes.add_tags_of(repository),
            },
        };
        let (listing, count) = self.page_of(&index, &TagsOf(repository), &page).await?;
        self.indexes.used_tags_of(repository, count);
        // An index may outlast its repository.
        if listing.items.is_empty() && !self.exists(repository).await? {
            return Ok(None);
        }
        Ok(Some(listing))
    }

    pub(crate) async fn repository_page(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let index = &self.indexes.repositories;
        let (listing, _) = self.page_of(index, &Repositories, &page).await?;
        Ok(listing)
    }

    /// Lists repositories that this process has recently seen to have a blob. No request.
    pub(crate) fn holder_page(
        &self,
        digest: &Digest,
        page: &Page<'_, RepositoryName>,
    ) -> Listing<RepositoryName> {
        Listing::first(page.limit, self.holders.after(digest, page.after))
    }

    /// Returns all tags of a repository, or `None` if it has many links. 1 request, and 2 for each tag whose log lacks a link.
    async fn few_tags(&self, repository: &RepositoryName) -> Result<Option<BTreeSet<Tag>>> {
        let directory = keys::tags(repository);
        let few = self.options.few_links;
        let (objects, more) = self.bucket.first(&directory, few + 1).await?;
        if more || objects.len() > few {
            return Ok(None);
        }
        let links = objects.iter().filter(|link| link.size > 0);
        let tags = links.filter_map(|link| keys::current_tag(&directory, &link.key));
        let mut tags: BTreeSet<Tag> = tags.collect();
        tags.extend(self.unlinked_tags(repository, &objects).await?);
        Ok(Some(tags))
    }

    /// Returns true if a repository exists for readers. 2 requests at once.
    pub(crate) async fn exists(&self, repository: &RepositoryName) -> Result<bool> {
        let marker = keys::marker(repository);
        let (marker, has_manifests) =
            tokio::try_join!(self.bucket.head(&marker), self.has_manifests(repository))?;
        Ok(marker.is_some() || has_manifests)
    }
}

/// Returns a page of sorted names.
fn page_of<K: Ord + Clone>(names: &BTreeSet<K>, page: &Page<'_, K>) -> Listing<K> {
    let after = page.after.map_or(Bound::Unbounded, Bound::Excluded);
    Listing::first(page.limit, names.range((after, Bound::Unbounded)).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, ObjectStorage};
    use registry_core::{Algorithm, storage::Storage as _};

    async fn open() -> ObjectStorage {
        ObjectStorage::options().open(Location::memory()).await.unwrap()
    }

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    async fn tags(storage: &ObjectStorage, repository: &str) -> Option<Vec<String>> {
        let listed = storage.tags(&name(repository), Page::first(100)).await.unwrap();
        listed.map(|listed| listed.items.iter().map(ToString::to_string).collect())
    }

    async fn repositories(storage: &ObjectStorage) -> Vec<String> {
        let listed = storage.repositories(Page::first(100)).await.unwrap();
        listed.items.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn what_registry_2_wrote_is_listed() {
        let storage = open().await;
        let bucket = &storage.store.bucket;
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for (repository, tag) in [("team/app", "1"), ("team/app", "1-alpine"), ("team", "v1")] {
            let (repository, tag) = (name(repository), Tag::parse(tag).unwrap());
            let index = keys::tag_index(&repository, &tag, &digest);
            for key in [
                keys::tag(&repository, &tag),
                index,
                keys::revision(&repository, &digest),
            ] {
                bucket.put(&key, digest.to_string()).await.unwrap();
            }
        }
        let blob = keys::layer(&name("blobs/only"), &digest);
        bucket.put(&blob, digest.to_string()).await.unwrap();

        assert_eq!(repositories(&storage).await, ["team", "team/app"]);
        let listed = tags(&storage, "team/app").await.unwrap();
        assert_eq!(listed, ["1", "1-alpine"]);
        assert_eq!(tags(&storage, "blobs/only").await, None);
        assert_eq!(tags(&storage, "absent").await, None);
    }

    #[tokio::test]
    async fn a_deleted_tag_whose_entries_are_left_is_not_listed() {
        let storage = open().await;
        let (repository, digest) = (name("a"), Digest::of(Algorithm::Sha256, b"x"));
        let index = keys::tag_index(&repository, &Tag::parse("v1").unwrap(), &digest);
        storage
            .store
            .bucket
            .put(&index, digest.to_string())
            .await
            .unwrap();
        assert_eq!(tags(&storage, "a").await, Some(vec![]));
    }

    #[tokio::test]
    async fn a_noted_repository_exists_with_nothing_in_it() {
        let storage = open().await;
        for repository in ["a/b-c", "a", "a-b.c__d/e"] {
            let view = storage.store.gate.view(&storage.store.bucket).await.unwrap();
            storage
                .store
                .note_repository(&name(repository), &view)
                .await
                .unwrap();
        }
        assert_eq!(repositories(&storage).await, ["a", "a-b.c__d/e", "a/b-c"]);
        assert_eq!(tags(&storage, "a/b-c").await, Some(vec![]));
    }
}
