//! The plane for inspection: everything stored, including content that readers are not shown, and what cannot be read.

use crate::{
    FsStorage,
    collect::places::Empty,
    digest_pages::Digests,
    error::{Context as _, FsError},
    links::{self, Link},
    names::names_after,
    store::Store,
    walk::{Whom, unreadable},
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{BlobInfo, HeldBlob, HeldManifest, Listing, Page, Result, Seen, TagTarget, UploadState},
};
use std::{cmp::Reverse, fs, io, path::Path, time::Duration};

/// Maximum time by which the clock of a file system is behind that of the system.
const TICK: Duration = Duration::from_millis(10);

impl Store {
    /// Lists the repositories that hold anything.
    pub(crate) fn all_repositories(
        &self,
        page: &Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_where(page, Whom::Inspection, &|path| {
            for part in ["_manifests", "_layers", "_uploads"] {
                let part = path.join(part);
                if fs::symlink_metadata(&part)
                    .if_there("read the metadata of", &part)?
                    .is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    pub(crate) fn all_blobs(&self, page: &Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        let fans = self.fans(page.after)?.into_iter().map(|(algorithm, fan)| {
            let directory = self.layout.blobs(algorithm).join(fan);
            match self.digest_pages.of(directory, algorithm, page) {
                // A file of another program.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
                digests => Ok(Some(digests?)),
            }
        });
        self.page_of(page, fans.filter_map(Result::transpose), |digest| {
            self.on_disk(digest)
        })
    }

    /// Returns the directories of the blobs after `after`, in order: they are named for the first two digits.
    fn fans(&self, after: Option<&Digest>) -> Result<Vec<(Algorithm, String)>, FsError> {
        let mut all = Vec::new();
        for algorithm in Algorithm::ALL {
            let mut fans = names_after(&self.layout.blobs(algorithm), None)?;
            while let Some(Reverse(fan)) = fans.pop() {
                // Sorts before the digests in it.
                let bound = format!("{algorithm}:{fan}");
                let passed = after.is_some_and(|after| {
                    let after = after.to_string();
                    bound < after && !after.starts_with(&bound)
                });
                if !passed {
                    all.push((algorithm, fan));
                }
            }
        }
        Ok(all)
    }

    /// Returns the data stored under a digest, also if it counts as absent for readers. Anything but a file is an error.
    fn on_disk(&self, digest: &Digest) -> Result<Option<BlobInfo>, FsError> {
        let path = self.layout.blob(digest);
        let Some(there) = fs::metadata(&path).if_there("read the metadata of", &path)? else {
            self.pass_empty(Empty::Data(*digest));
            return Ok(None);
        };
        if !there.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file");
            return Err(error).at("read", &path);
        }
        let blob = BlobInfo::new(*digest, there.len());
        Ok(Some(blob.with_modified(there.modified().ok())))
    }

    /// Lists the links of a repository to blobs. The link of registry:2 for a sha512 digest names the blob's sha256
    /// digest, by which its bytes are stored: whatever removes bytes has to read the links.
    pub(crate) fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        let links = Algorithm::ALL.into_iter().map(|algorithm| {
            let directory = self.layout.layers(repository, algorithm);
            self.digest_pages.of(directory, algorithm, page)
        });
        self.page_of(page, links, |digest| self.held_blob(repository, digest))
    }

    fn held_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<HeldBlob>, FsError> {
        let target = strict_link(&self.layout.layer(repository, digest), digest)?;
        if target.is_none() {
            self.pass_empty(Empty::Layer(repository.clone(), *digest));
        }
        Ok(target.map(|target| HeldBlob::new(*digest).with_stored(target)))
    }

    pub(crate) fn manifests(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let manifests = Algorithm::ALL.into_iter().map(|algorithm| {
            let directory = self.layout.revisions(repository, algorithm);
            self.digest_pages.of(directory, algorithm, page)
        });
        self.page_of(page, manifests, |digest| self.held_manifest(repository, digest))
    }

    fn held_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<HeldManifest>, FsError> {
        let link = self.layout.revision(repository, digest);
        let Some(target) = strict_link(&link, digest)? else {
            self.pass_empty(Empty::Revision(repository.clone(), *digest));
            return Ok(None);
        };
        // Each put sets it.
        let put = fs::metadata(&link).if_there("read the metadata of", &link)?;
        let put = put.and_then(|link| link.modified().ok()?.checked_add(TICK));
        let held = HeldManifest::new(*digest).with_stored(target).with_put(put);
        Ok(Some(match self.stored(&target)? {
            Some(found) => held.with_size(Some(found.size)).with_modified(found.modified),
            None => held,
        }))
    }

    pub(crate) fn uploads(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let mut found = Vec::new();
        for id in self.upload_ids(repository, page.after)? {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            match self.any_upload(repository, &id) {
                Ok(upload) => found.extend(upload.map(Seen::Whole)),
                Err(error) => found.push(unreadable(id, &error)),
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns one page of what is stored for the digests in several directories, one after the other. A directory after
    /// the page is not opened.
    fn page_of<T>(
        &self,
        page: &Page<'_, Digest>,
        directories: impl IntoIterator<Item = Result<Digests, FsError>>,
        look: impl Fn(&Digest) -> Result<Option<T>, FsError>,
    ) -> Result<Listing<Seen<T, Digest>>> {
        let (mut found, mut last) = (Vec::new(), None);
        for digests in directories {
            let mut digests = digests?;
            while let Some(digest) = digests.peek()? {
                let item = match look(&digest) {
                    Ok(item) => item.map(Seen::Whole),
                    Err(error) => Some(unreadable(digest, &error)),
                };
                if let Some(item) = item {
                    if found.len() >= page.limit {
                        // A page for no items promises nothing.
                        let more = last.is_some();
                        if let Some(last) = last {
                            self.digest_pages.keep(page, last, digests);
                        }
                        return Ok(Listing::new(found, more));
                    }
                    found.push(item);
                    last = Some(digest);
                }
                digests.advance();
            }
        }
        Ok(Listing::new(found, false))
    }

    /// Lists the tags that readers see, with their targets. A pointer that was lost, cannot be read or holds no digest
    /// makes an item that is unreadable.
    pub(crate) fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let mut found = Vec::new();
        for tag in self.tag_names(repository, page.after)? {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            match self.tag_target(repository, &tag) {
                Ok(target) => found.extend(target),
                Err(error) => found.push(unreadable(tag, &error)),
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns a tag with its target; `None` if the directory holds no trace of a target, so that it is no tag.
    fn tag_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Seen<TagTarget, Tag>>, FsError> {
        let paths = self.layout.tag(repository, tag);
        let path = paths.current();
        let version = self.is_owned().then(|| self.tag_versions.of(repository, tag));
        Ok(match self.pointer(&paths)? {
            Link::To(target) => {
                // After the target: if the tag moves in between, the target is never listed with an earlier time than
                // its own. A pointer is replaced when its tag moves, and registry:2 writes into it.
                let pointer = fs::metadata(&path).if_there("read the metadata of", &path)?;
                let moved = pointer.and_then(|pointer| pointer.modified().ok());
                let target = TagTarget::new(tag.clone(), target).with_moved(moved);
                Some(Seen::Whole(target.with_version(version.flatten())))
            }
            Link::Garbled => {
                let reason = format!("{} contains no digest", path.display());
                Some(Seen::unreadable(tag.clone(), reason))
            }
            Link::None => None,
        })
    }

    /// Lists those of the tags, in order, that point at a manifest.
    pub(crate) fn tags_among(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: &Page<'_, Tag>,
        tags: impl IntoIterator<Item = Tag>,
    ) -> Result<Listing<Tag>> {
        let mut found = Vec::new();
        for tag in tags {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            let is_beyond = page.after.is_none_or(|after| tag > *after);
            if is_beyond && links::read(&self.layout.tag(repository, &tag).current())? == Some(*digest) {
                found.push(tag);
            }
        }
        Ok(Listing::first(page.limit, found))
    }
}

impl FsStorage {
    /// Lists the tags that point at a manifest, by the index if this process has one. Waiting for that holds no thread.
    pub(crate) async fn list_tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        after: Option<Tag>,
        limit: usize,
    ) -> Result<Listing<Tag>> {
        let index = if self.store().is_owned() {
            self.tags_pointing_at(repository, digest).await?
        } else {
            None
        };
        let (repository, digest) = (repository.clone(), *digest);
        self.blocking(move |store| {
            let page = Page::first(limit).after(after.as_ref());
            match index {
                Some(index) => {
                    let candidates = index.candidates(&digest);
                    store.tags_among(&repository, &digest, &page, candidates)
                }
                None => {
                    let all = store.tag_names(&repository, page.after)?;
                    store.tags_among(&repository, &digest, &page, all)
                }
            }
        })
        .await
    }
}

/// Reads the digest in a link file that a deletion must not overlook: `None` only if there is no file.
fn strict_link(path: &Path, digest: &Digest) -> Result<Option<Digest>, FsError> {
    match links::look_of(path, digest)? {
        Link::To(target) => Ok(Some(target)),
        Link::None => Ok(None),
        Link::Garbled => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no digest in it, or a wrong one",
        ))
        .at("read", path),
    }
}
