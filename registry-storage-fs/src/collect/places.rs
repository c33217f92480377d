//! [`Places`]: the places in which the next run looks for leftovers at its end.

use registry_core::{Digest, RepositoryName};
use std::{collections::BTreeSet, mem};

/// Maximum number of repositories, and of directories. The lists of the next run name the others again.
const MOST: usize = 65_536;

/// Repositories and directories in which something may be left.
#[derive(Debug)]
pub(crate) struct Places {
    /// True until a run has looked at all repositories.
    pub(super) is_everywhere: bool,
    /// Repositories from which a manifest has gone, or in which something could not be removed.
    pub(super) repositories: BTreeSet<RepositoryName>,
    /// Directories without the file that they are for.
    pub(super) empty: BTreeSet<Empty>,
}

/// Directory of a digest without the file that it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Empty {
    Data(Digest),
    Layer(RepositoryName, Digest),
    Revision(RepositoryName, Digest),
}

impl Default for Places {
    fn default() -> Self {
        Self {
            is_everywhere: true,
            repositories: BTreeSet::new(),
            empty: BTreeSet::new(),
        }
    }
}

impl Places {
    pub(super) fn add(&mut self, repository: &RepositoryName) {
        if self.repositories.len() < MOST {
            self.repositories.insert(repository.clone());
        } else {
            self.is_everywhere = true;
        }
    }

    pub(super) fn add_empty(&mut self, empty: Empty) {
        if self.empty.len() < MOST {
            self.empty.insert(empty);
        }
    }

    /// Returns all of them, and begins anew.
    pub(super) fn take(&mut self) -> Self {
        Self {
            is_everywhere: mem::take(&mut self.is_everywhere),
            repositories: mem::take(&mut self.repositories),
            empty: mem::take(&mut self.empty),
        }
    }
}
