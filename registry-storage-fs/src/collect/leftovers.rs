//! Leftovers: files that the end of a process has left between two steps of a removal.
//!
//! Nothing lists them, so that no later removal comes to them. The first run after each opening looks for them at its end,
//! when it has removed everything else.

use super::{collecting::lock, nearby::Item};
use crate::{error::FsError, moves::is_there, names::digests_in, store::Store};
use registry_core::{
    Algorithm, RepositoryName,
    storage::{Page, Result, Seen},
};
use std::sync::atomic::Ordering;

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;

impl Store {
    /// Removes the media types of manifests that are gone, unless an earlier run of this process has. What fails is tried
    /// again by the next run.
    pub(super) fn remove_leftovers(&self) {
        if self.collecting.has_no_leftovers.load(Ordering::Relaxed) {
            return;
        }
        match self.remove_all_leftovers() {
            Ok(()) => self.collecting.has_no_leftovers.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(%error, "cannot look for the media types of manifests that are gone")
            }
        }
    }

    fn remove_all_leftovers(&self) -> Result<()> {
        let mut after: Option<RepositoryName> = None;
        loop {
            let listed = self.all_repositories(&Page::first(PAGE).after(after.as_ref()))?;
            for repository in listed.items.iter().map(Seen::key) {
                self.require_open()?;
                self.remove_media_types(repository)?;
            }
            after = listed.items.last().map(|last| last.key().clone());
            if !listed.more {
                return Ok(());
            }
        }
    }

    fn remove_media_types(&self, repository: &RepositoryName) -> Result<(), FsError> {
        for algorithm in Algorithm::ALL {
            let directory = self.layout.media_types(repository, algorithm);
            for digest in digests_in(&directory, algorithm, None)? {
                // A put writes the media type before the link.
                let key = self.digest_locks.key(&digest);
                let Some(_locks) = self.digest_locks.try_exclusive([key]) else {
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
        Ok(())
    }
}
