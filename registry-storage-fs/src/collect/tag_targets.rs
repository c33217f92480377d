//! Removal of the earlier targets of tags.
//!
//! registry:2 keeps a link to each manifest that a tag ever pointed at, so that a tag that moves each day would grow without
//! end. It reads these links when the manifest is deleted, and never afterwards. Our own history is elsewhere.

use super::nearby::Item;
use crate::{
    error::FsError, layout::TagPaths, links::Link, moves::is_there, names::digests_in, store::Store,
};
use registry_core::{Algorithm, Digest, RepositoryName, Tag, storage::Result};

impl Store {
    /// Removes the links of tags to manifests that the repository no longer has.
    pub(super) fn remove_tag_targets(&self, repository: &RepositoryName) -> Result<()> {
        for tag in self.tag_names(repository, None)? {
            self.require_open()?;
            let paths = self.layout.tag(repository, &tag);
            let gone = self.gone_targets(repository, &paths)?;
            if !gone.is_empty() {
                self.remove_targets(repository, &tag, &paths, &gone)?;
            }
        }
        Ok(())
    }

    fn gone_targets(&self, repository: &RepositoryName, paths: &TagPaths) -> Result<Vec<Digest>, FsError> {
        let mut gone = Vec::new();
        for algorithm in Algorithm::ALL {
            for target in digests_in(&paths.targets(algorithm), algorithm)? {
                if !is_there(&self.layout.revision(repository, &target))? {
                    gone.push(target);
                }
            }
        }
        Ok(gone)
    }

    /// Removes some earlier targets of a tag. They stay if the link of the tag or that of its target is lost: they show that
    /// the directory was a tag.
    fn remove_targets(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        paths: &TagPaths,
        gone: &[Digest],
    ) -> Result<(), FsError> {
        // Whoever moves the tag adds its target under this lock, after the link of the manifest.
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        let Link::To(current) = self.pointer(paths)? else {
            return Ok(());
        };
        if !is_there(&paths.index(&current))? {
            return Ok(());
        }
        for target in gone.iter().filter(|target| **target != current) {
            if !is_there(&self.layout.revision(repository, target))? {
                // Not synced, as its creation was not.
                let link = Item::by_path(paths.index(target));
                link.remove()?;
                link.remove_directory()?;
            }
        }
        Ok(())
    }
}
