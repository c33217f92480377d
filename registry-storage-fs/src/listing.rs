//! Lists for readers: repositories, tags, and the names in the other directories of a repository.

use crate::{
    error::{Context, FsError},
    names::{digests_in, names_after, names_where, parsed},
    store::Store,
    walk::{Walk, Whom},
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{Listing, Page, Result, Seen},
};
use rustix::io::Errno;
use std::{fs, io, path::Path};

impl Store {
    /// Lists tags; `None` if there is no such repository.
    pub(crate) fn tags(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>> {
        if !self.has_manifests(repository)? {
            return Ok(None);
        }
        let mut tags = Vec::new();
        for tag in self.tag_names(repository, page.after)? {
            // One item beyond the page shows that there are more.
            if tags.len() > page.limit {
                break;
            }
            if self.points(repository, &tag)? {
                tags.push(tag);
            }
        }
        Ok(Some(Listing::first(page.limit, tags)))
    }

    /// Returns true if a tag has a link to a manifest. A directory without one was left by a process that died. An
    /// unreadable link counts as none, because an error would hide all other tags.
    fn points(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, FsError> {
        let path = self.layout.tag(repository, tag).current();
        match fs::metadata(&path).if_there("read the metadata of", &path) {
            Err(error) if error.is_of_this_path() => {
                self.reported
                    .unreadable(&error, "the tag is left out of the list of tags");
                Ok(false)
            }
            found => {
                let found = found?;
                self.reported.forget(&path);
                Ok(found.is_some_and(|current| current.is_file() && current.len() > 0))
            }
        }
    }

    /// Returns true if the repository exists.
    pub(crate) fn has_manifests(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        is_directory(&self.layout.manifests(repository))
    }

    /// Returns the tags that have a directory, in order.
    pub(crate) fn tag_names(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
    ) -> Result<impl Iterator<Item = Tag> + use<>, FsError> {
        let directory = self.layout.tags(repository);
        // A file is no tag, and must not prevent the listing and deletion of tags.
        let is_no_file = |entry: &fs::DirEntry| !entry.file_type().is_ok_and(|file_type| file_type.is_file());
        let names = names_where(&directory, after.map(Tag::as_str), &is_no_file)?;
        Ok(parsed(directory, names, |name| Tag::parse(name).ok()))
    }

    /// Returns the manifests that have a directory, in order; some may have no link.
    pub(crate) fn revision_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.revisions(repository, algorithm), algorithm)
    }

    /// Returns the blobs that have a directory, in order.
    pub(crate) fn layer_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.layers(repository, algorithm), algorithm)
    }

    /// Returns the upload sessions that have a directory, in order.
    pub(crate) fn upload_ids(
        &self,
        repository: &RepositoryName,
        after: Option<&UploadId>,
    ) -> Result<impl Iterator<Item = UploadId> + use<>, FsError> {
        let directory = self.layout.uploads(repository);
        let names = names_after(&directory, after.map(UploadId::to_string).as_deref())?;
        Ok(parsed(directory, names, |name| UploadId::parse(name).ok()))
    }

    pub(crate) fn repositories(&self, page: &Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let listed = self.repositories_where(page, Whom::Readers, &|path| {
            let manifests = path.join("_manifests");
            let exists = is_directory(&manifests)?;
            self.reported.forget(&manifests);
            Ok(exists)
        })?;
        Ok(Listing::new(
            listed.items.into_iter().filter_map(Seen::whole).collect(),
            listed.more,
        ))
    }

    /// Lists the directories that could be repositories and whose content `counts` accepts.
    pub(crate) fn repositories_where(
        &self,
        page: &Page<'_, RepositoryName>,
        whom: Whom,
        counts: &dyn Fn(&Path) -> Result<bool, FsError>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_below(&self.layout.repositories(), page, whom, counts)
    }

    /// Does the same for another directory that has directories of the names of repositories.
    pub(crate) fn repositories_below(
        &self,
        root: &Path,
        page: &Page<'_, RepositoryName>,
        whom: Whom,
        counts: &dyn Fn(&Path) -> Result<bool, FsError>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        // Inspection reads everything, and only the owner is told of new repositories.
        let bare = (whom == Whom::Readers && self.is_owned()).then_some(&self.bare);
        Walk::new(page, whom, counts, &self.reported, bare).list(root)
    }
}

/// Returns true if the directory exists. Anything else in its place is an error.
fn is_directory(path: &Path) -> Result<bool, FsError> {
    match fs::metadata(path).if_there("read the metadata of", path)? {
        Some(there) if there.is_dir() => Ok(true),
        Some(_) => Err(io::Error::from(Errno::NOTDIR)).at("use as a directory", path),
        None => Ok(false),
    }
}
