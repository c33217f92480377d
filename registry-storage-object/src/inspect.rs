//! The plane for inspection: everything stored, including content that readers are not shown, and what cannot be read.
//!
//! The records of a repository are listed twice: see [`Store::list_twice`]. What their listing lacks would be removed by a
//! collection. Requests, for N objects in the listed directory:
//!
//! - `all_repositories`: 2 for each directory of a name, 1 to 2 for each repository, N / 1,000 for the markers.
//! - `blobs`: N / 1,000, and up to 256 more.
//! - `held_blobs`: N / 380, at least 3.
//! - `manifests`: N / 380, and 1 for each manifest of the page.
//! - `tag_targets`: N / 380, and 2 for each tag of the page. A tag has 1 object, and 1 for each manifest that it ever
//!   pointed at.
//! - `tags_of`: N / 380, and 1 for each tag that ever pointed at the manifest.
//! - `document`: 3, one of them after the others.
//!
//! A long page keeps what its listing has read, so that a listing by pages reads each directory once.

use crate::{
    bucket::{Meta, StoreTime},
    gate::now,
    keys,
    links::read_link,
    marks::is_marked,
    rung::Rung,
    scans::{Holding, at_once, by_name},
    storage::ObjectStorage,
    store::Store,
    tags::Link,
};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{
        BlobInfo, Document, HeldBlob, HeldManifest, Listing, Page, Result, Seen, StorageInspect, TagTarget,
        UploadState,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Sizes of links without a mark: `sha256:` or `sha512:` with the hexadecimal digits.
const PLAIN: [u64; 2] = [7 + 64, 7 + 128];

/// Number of tags that are looked at before the next ones are.
const LOOKS: usize = 256;

#[async_trait]
impl StorageInspect for ObjectStorage {
    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.store.all_repository_page(page).await
    }

    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        self.store.blob_page(page).await
    }

    async fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        self.store.held_blob_page(repository, page).await
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        self.store.held_manifest_page(repository, page).await
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        self.store.document(repository, digest).await
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        self.store.tag_target_page(repository, page).await
    }

    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        let objects = self.store.list_twice(&keys::tags(repository)).await?;
        self.store.tags_among(repository, digest, page, objects).await
    }

    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        self.store.uploading_page(page).await
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        self.store.upload_page(repository, page).await
    }
}

impl Store {
    async fn all_repository_page(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let kept = &self.kept.repositories;
        let items = match kept.take(keys::REPOSITORIES, &page) {
            Some(items) => items,
            None => {
                let (mut all, walked, uploading) = tokio::try_join!(
                    self.marked_repositories(),
                    self.walk_repositories(Holding::Anything),
                    self.all_uploading()
                )?;
                all.extend(walked);
                all.extend(uploading);
                let beyond = |name: &RepositoryName| page.after.is_none_or(|after| name > after);
                all.into_iter().filter(beyond).map(|name| (name, ())).collect()
            }
        };
        let (items, more) = kept.split(keys::REPOSITORIES, &page, items);
        let items = items.into_iter().map(|(name, ())| Seen::Whole(name)).collect();
        Ok(Listing::new(items, more))
    }

    /// Returns the repositories with an open upload session.
    async fn all_uploading(&self) -> Result<BTreeSet<RepositoryName>> {
        let mut all: BTreeSet<RepositoryName> = BTreeSet::new();
        loop {
            let last = all.last().cloned();
            let listed = self
                .uploading_page(Page::first(1000).after(last.as_ref()))
                .await?;
            all.extend(listed.items.into_iter().map(|seen| seen.key().clone()));
            if !listed.more {
                return Ok(all);
            }
        }
    }

    /// Lists the data of blobs. What is listed once only is no worse: nothing is removed for its absence here.
    async fn blob_page(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        const BLOBS: &str = "blobs";
        let mut found = self.kept.digests.take(BLOBS, &page).unwrap_or_default();
        let begun = found
            .last()
            .map(|(digest, _)| *digest)
            .or_else(|| page.after.copied());
        for algorithm in Algorithm::ALL {
            if begun.is_some_and(|begun| begun.algorithm() > algorithm) {
                continue;
            }
            for directory in self.fans(algorithm, begun.as_ref()).await? {
                if found.len() > page.limit {
                    break;
                }
                let listed = by_name(self.list_all(&directory).await?, keys::stored);
                let beyond = |digest: &Digest| begun.is_none_or(|begun| *digest > begun);
                found.extend(listed.into_iter().filter(|(digest, _)| beyond(digest)));
            }
        }
        let (items, more) = self.kept.digests.split(BLOBS, &page, found);
        let items = items.into_iter().map(|(digest, data)| {
            let blob = BlobInfo::new(digest, data.size);
            Seen::Whole(blob.with_modified(Some(data.modified)))
        });
        Ok(Listing::new(items.collect(), more))
    }

    /// Returns the directories of the blobs after `after`, in order: one for all if there are few, else one for each of the
    /// first two digits.
    async fn fans(&self, algorithm: Algorithm, after: Option<&Digest>) -> Result<Vec<String>> {
        let directory = keys::blobs(algorithm);
        if self.bucket.page(&directory, None).await?.next.is_none() {
            return Ok(vec![directory]);
        }
        let mut fans = self.bucket.directory(&directory).await?.directories;
        let first = after
            .filter(|after| after.algorithm() == algorithm)
            .map(|after| format!("{directory}/{}", after.hex().get(..2).unwrap_or_default()));
        fans.retain(|fan| first.as_ref().is_none_or(|first| fan >= first));
        fans.sort_unstable();
        Ok(fans)
    }

    async fn held_blob_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        let (links, more) = self.links_of(&keys::all_layers(repository), &page).await?;
        let looks = links
            .iter()
            .map(|(digest, link)| self.held_blob(digest, link).boxed());
        Ok(Listing::new(at_once(looks).await?, more))
    }

    async fn held_blob(&self, digest: &Digest, link: &Meta) -> Result<Seen<HeldBlob, Digest>> {
        Ok(match self.named_by(digest, link).await? {
            Ok(stored) => Seen::Whole(HeldBlob::new(*digest).with_stored(stored)),
            Err(reason) => Seen::unreadable(*digest, reason),
        })
    }

    async fn held_manifest_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let (links, more) = self.links_of(&keys::all_revisions(repository), &page).await?;
        let looks = links
            .iter()
            .map(|(digest, link)| self.held_manifest(digest, link).boxed());
        Ok(Listing::new(at_once(looks).await?, more))
    }

    async fn held_manifest(&self, digest: &Digest, link: &Meta) -> Result<Seen<HeldManifest, Digest>> {
        let stored = match self.named_by(digest, link).await? {
            Ok(stored) => stored,
            Err(reason) => return Ok(Seen::unreadable(*digest, reason)),
        };
        let data = self.bucket.head(&keys::blob(&stored)).await?;
        let held = HeldManifest::new(*digest).with_stored(stored);
        Ok(Seen::Whole(match data {
            Some(data) => held.with_size(Some(data.size)).with_modified(Some(data.modified)),
            None => held,
        }))
    }

    /// Returns a page of the links below a directory, which are those of both algorithms.
    async fn links_of(
        &self,
        directory: &str,
        page: &Page<'_, Digest>,
    ) -> Result<(Vec<(Digest, Meta)>, bool)> {
        let kept = &self.kept.digests;
        let items = match kept.take(directory, page) {
            Some(items) => items,
            None => {
                let objects = self.list_twice(directory).await?;
                let links = by_name(objects, |key| keys::linked(directory, key));
                let beyond = |digest: &Digest| page.after.is_none_or(|after| digest > after);
                links.into_iter().filter(|(digest, _)| beyond(digest)).collect()
            }
        };
        Ok(kept.split(directory, page, items))
    }

    /// Returns the digest by which the content of a link is stored, or the reason why it names none.
    ///
    /// A link of the usual size names its own digest. registry:2 writes others: it stores content that was pushed by its sha512
    /// digest by the sha256 digest.
    async fn named_by(&self, digest: &Digest, link: &Meta) -> Result<Result<Digest, String>> {
        let own = digest.to_string();
        if link.size == own.len() as u64 {
            return Ok(Ok(*digest));
        }
        let Some(read) = self.bucket.get_link(&link.key).await? else {
            // It is being removed. What it named stays until the next look.
            return Ok(Ok(*digest));
        };
        if is_marked(&read.bytes) && self.is_left(link.modified) {
            self.left_marks.add(&link.key);
        }
        Ok(read_link(&read.bytes, digest)
            .ok_or_else(|| format!("{} contains no digest, or a wrong one", link.key)))
    }

    async fn tag_target_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let directory = keys::tags(repository);
        let kept = &self.kept.tags;
        let items = match kept.take(&directory, &page) {
            Some(items) => items,
            None => {
                let objects = self.list_twice(&directory).await?;
                self.note_leftovers(repository, &objects);
                let tags = by_name(objects, |key| match self.rung {
                    // The link may be missing of a tag that is in a log. A look tells.
                    Rung::Log => keys::name_in(&directory, key).and_then(|name| Tag::parse(name).ok()),
                    Rung::Conditional | Rung::Sole => keys::current_tag(&directory, key),
                });
                let beyond = |tag: &Tag| page.after.is_none_or(|after| tag > after);
                tags.into_iter().filter(|(tag, _)| beyond(tag)).collect()
            }
        };
        let (tags, more) = kept.split(&directory, &page, items);
        let looks = tags.iter().map(|(tag, _)| self.seen_tag(repository, tag).boxed());
        let seen = at_once(looks).await?;
        Ok(Listing::new(seen.into_iter().flatten().collect(), more))
    }

    /// Remembers the entries of tags that do not exist, for their removal: a prefix without a link is taken for a tag. And
    /// the links with a mark, which registry:2 cannot read.
    pub(crate) fn note_leftovers(&self, repository: &RepositoryName, objects: &[Meta]) {
        let directory = keys::tags(repository);
        let now = now(&self.bucket);
        let mut tags: BTreeMap<&str, Vec<&Meta>> = BTreeMap::new();
        for object in objects {
            let name = keys::name_in(&directory, &object.key);
            tags.entry(name.unwrap_or_default()).or_default().push(object);
        }
        for (name, objects) in tags {
            let Ok(tag) = Tag::parse(name) else { continue };
            let link = keys::tag(repository, &tag);
            let is_old = |object: &&Meta| StoreTime::of(object.modified).after(self.settled()) < now;
            let link = objects.iter().find(|object| object.key == link);
            let entries: Vec<String> = match link {
                None => objects.iter().map(|object| object.key.clone()).collect(),
                // The text of a digest has another length.
                Some(link) if link.size > 0 && !PLAIN.contains(&link.size) => Vec::new(),
                Some(_) => continue,
            };
            let is_left = match link {
                None => objects.iter().all(is_old),
                Some(link) => is_old(link),
            };
            if is_left {
                self.leftovers.add(repository, tag, entries);
            }
        }
    }

    /// Reads a tag that was listed. Returns `None` if it has been deleted since.
    pub(crate) async fn seen_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Seen<TagTarget, Tag>>> {
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        Ok(match pointer.link {
            Link::None => None,
            Link::Garbled => {
                let key = keys::tag(repository, tag);
                let reason = format!("{key} contains no digest");
                Some(Seen::unreadable(tag.clone(), reason))
            }
            Link::To(digest) => {
                let target = TagTarget::new(tag.clone(), digest)
                    .with_moved(entries.moved(&digest).or(pointer.modified))
                    .with_version(Some(entries.version()));
                Some(Seen::Whole(target))
            }
        })
    }

    /// Lists the tags that point at a manifest, by one listing.
    pub(crate) async fn tag_of_page(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        let objects = self.list_all(&keys::tags(repository)).await?;
        self.tags_among(repository, digest, page, objects).await
    }

    /// Lists the tags that point at a manifest. Those that ever did have an entry of registry:2's list of past targets, which
    /// is written before the target is. A tag that has no entry at all was made by another program.
    async fn tags_among(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
        objects: Vec<Meta>,
    ) -> Result<Listing<Tag>> {
        let directory = keys::tags(repository);
        let (mut current, mut with_entries, mut candidates) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for object in objects {
            let name = keys::name_in(&directory, &object.key);
            let Some(tag) = name.and_then(|name| Tag::parse(name).ok()) else {
                continue;
            };
            if page.after.is_some_and(|after| tag <= *after) {
                continue;
            }
            if object.key == keys::tag(repository, &tag) {
                current.insert(tag);
            } else {
                if object.key == keys::tag_index(repository, &tag, digest) {
                    candidates.insert(tag.clone());
                }
                with_entries.insert(tag);
            }
        }
        candidates.extend(current.difference(&with_entries).cloned());
        let candidates: Vec<Tag> = candidates.into_iter().collect();
        let mut found = Vec::new();
        for some in candidates.chunks(LOOKS) {
            let targets = at_once(some.iter().map(|tag| self.tag_target(repository, tag))).await?;
            let pointing = some.iter().zip(targets);
            let pointing = pointing.filter(|(_, target)| *target == Some(*digest));
            found.extend(pointing.map(|(tag, _)| tag.clone()));
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
        }
        Ok(Listing::first(page.limit, found))
    }
}
