//! Leftovers: files and directories that belong to nothing any more, and that no list shows.
//!
//! They come from deletions, from moves of tags, and from processes that ended between two steps. A run looks for them at
//! its end, when it has removed everything else: where something has gone or failed, and everywhere in the first run after
//! each opening. Lists of content name the empty directories that they pass.

use super::{collecting::lock, nearby::Item, places::Empty};
use crate::{error::FsError, moves::is_there, names::digests_in, store::Store};
use registry_core::{
    Algorithm, RepositoryName,
    storage::{Page, Result},
};
use std::collections::BTreeMap;

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;

impl Store {
    /// Records that a list has passed an empty directory.
    pub(crate) fn pass_empty(&self, empty: Empty) {
        if self.is_owned() {
            lock(&self.collecting.leftovers).add_empty(empty);
        }
    }

    /// Removes what is left. `began` is the number of the last touch before the run. What fails is tried again by the
    /// next run.
    pub(super) fn remove_leftovers(&self, began: u64) {
        let leftovers = lock(&self.collecting.leftovers).take();
        let mut repositories: BTreeMap<RepositoryName, Vec<Empty>> = BTreeMap::new();
        for repository in leftovers.repositories {
            repositories.insert(repository, Vec::new());
        }
        for empty in leftovers.empty {
            match &empty {
                Empty::Data(digest) => self.remove_empty_data(digest),
                Empty::Layer(repository, _) | Empty::Revision(repository, _) => {
                    repositories.entry(repository.clone()).or_default().push(empty);
                }
            }
        }
        if leftovers.is_everywhere
            && let Err(error) = self.add_all_repositories(&mut repositories)
        {
            tracing::warn!(%error, "cannot look for leftovers in all repositories; the next collection does");
            lock(&self.collecting.leftovers).is_everywhere = true;
        }
        for (repository, empty) in repositories {
            if let Err(error) = self.remove_leftovers_of(&repository, empty, began) {
                tracing::warn!(%repository, %error, "cannot remove what deletions have left; the next collection tries again");
                self.collecting.leaves_something(&repository);
            }
        }
    }

    fn add_all_repositories(&self, found: &mut BTreeMap<RepositoryName, Vec<Empty>>) -> Result<()> {
        let mut after: Option<RepositoryName> = None;
        loop {
            let listed = self.all_repositories(&Page::first(PAGE).after(after.as_ref()))?;
            self.require_open()?;
            after = listed.items.last().map(|last| last.key().clone());
            for seen in &listed.items {
                found.entry(seen.key().clone()).or_default();
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    fn remove_leftovers_of(&self, repository: &RepositoryName, empty: Vec<Empty>, began: u64) -> Result<()> {
        self.require_open()?;
        let is_done = self.remove_media_types(repository)?;
        self.remove_tag_targets(repository)?;
        self.remove_empty_records(repository, empty, began)?;
        if !is_done {
            self.collecting.leaves_something(repository);
        }
        Ok(())
    }

    /// Removes the media types of manifests that are gone. Returns false if a request uses one of them.
    fn remove_media_types(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        let mut is_done = true;
        for algorithm in Algorithm::ALL {
            let directory = self.layout.media_types(repository, algorithm);
            for digest in digests_in(&directory, algorithm)? {
                // A put writes the media type before the link.
                let key = self.digest_locks.key(&digest);
                let Some(_locks) = self.digest_locks.try_exclusive([key]) else {
                    is_done = false;
                    continue;
                };
                // A manifest whose record alone was lost can be restored with its type, as long as its bytes are there.
                let is_gone = !is_there(&self.layout.revision(repository, &digest))?
                    && !is_there(&self.layout.blob(&digest))?;
                if is_gone {
                    let media_type = Item::by_path(self.layout.media_type(repository, &digest));
                    lock(&self.collecting.removals).remove_file(&media_type, &self.disk)?;
                }
            }
        }
        Ok(is_done)
    }
}
