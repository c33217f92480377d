//! The maintenance plane: everything stored, including content that readers are not shown.

use crate::{
    error::FsError,
    links,
    listing::{digests_in, names_after},
    open::Store,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, UploadId,
    storage::{BlobInfo, LinkInfo, Listing, Page, Result, UploadState},
};
use std::cmp::Reverse;

impl Store {
    pub(crate) fn all_blobs(&self, page: &Page<'_, Digest>) -> Result<Listing<BlobInfo>> {
        let fans = self.fans(page.after)?;
        let blobs = fans.into_iter().filter_map(|(algorithm, fan)| {
            let directory = self.layout.blobs(algorithm).join(fan);
            match digests_in(&directory, algorithm, page.after) {
                Ok(digests) => Some(Ok(digests.map(|digest| self.stored(&digest)))),
                Err(error) => {
                    self.leave_out(&error);
                    None
                }
            }
        });
        self.first(page.limit, blobs)
    }

    /// Returns the directories of the blobs after `after`, in order: they are named for the first two digits.
    fn fans(&self, after: Option<&Digest>) -> Result<Vec<(Algorithm, String)>, FsError> {
        let mut all = Vec::new();
        for algorithm in Algorithm::ALL {
            let mut fans = names_after(&self.layout.blobs(algorithm), None)?;
            while let Some(Reverse(fan)) = fans.pop() {
                // Sorts with the digests in it, or before the first of them.
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

    pub(crate) fn links(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Digest>,
    ) -> Result<Listing<LinkInfo>> {
        let links = Algorithm::ALL.into_iter().map(|algorithm| {
            let digests = self.layer_digests(repository, algorithm, page.after)?;
            Ok(digests.map(|digest| {
                let target = links::read(&self.layout.layer(repository, &digest));
                target.map(|target| target.map(|target| LinkInfo::new(digest, target)))
            }))
        });
        self.first(page.limit, links)
    }

    pub(crate) fn manifests(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Digest>,
    ) -> Result<Listing<BlobInfo>> {
        let manifests = Algorithm::ALL.into_iter().map(|algorithm| {
            let digests = self.revision_digests(repository, algorithm, page.after)?;
            Ok(digests.map(|digest| self.manifest_info(repository, &digest)))
        });
        self.first(page.limit, manifests)
    }

    pub(crate) fn uploads(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, UploadId>,
    ) -> Result<Listing<UploadState>> {
        let ids = self.upload_ids(repository, page.after)?;
        let uploads = ids.map(|id| self.any_upload(repository, &id));
        self.first(page.limit, [Ok(uploads)])
    }

    /// Returns one page of the items in several directories, one after the other; directories after the page are not
    /// opened. Unreadable items are left out, so that the rest is still maintained.
    fn first<T>(
        &self,
        limit: usize,
        directories: impl IntoIterator<Item = Result<impl Iterator<Item = Result<Option<T>, FsError>>, FsError>>,
    ) -> Result<Listing<T>> {
        let mut found = Vec::new();
        for directory in directories {
            for item in directory? {
                match item {
                    Ok(item) => found.extend(item),
                    Err(error) => self.leave_out(&error),
                }
                // One more than the page says that there is more.
                if found.len() > limit {
                    return Ok(Listing::first(limit, found));
                }
            }
        }
        Ok(Listing::first(limit, found))
    }

    fn leave_out(&self, error: &FsError) {
        self.remarks
            .unreadable(error, "what is there is left out of a list for maintenance");
    }
}
