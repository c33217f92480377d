//! [`Plan`]: the manifests that a restore puts, and the [`Records`] that it begins with.

use crate::{
    digest::{AnyDigest, Digest},
    storage::{TrashId, Trashed},
};
use std::collections::{HashMap, HashSet};

/// Records of a repository, as far as a restore needs them.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The newest record that is selected.
    pub(super) selected: Option<Trashed>,
    /// The newest record of each manifest, and true if it names tags.
    pub(super) manifests: HashMap<Digest, (TrashId, bool)>,
    /// The newest record that cannot be read, and the reason.
    pub(super) unreadable: Option<(TrashId, String)>,
}

/// Manifests to put, children before their parents.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) manifests: Vec<Digest>,
    /// The ones that the repository does not have.
    pub(super) absent: Vec<Digest>,
    pub(super) gone: Vec<AnyDigest>,
    /// Manifests that it needs, too, and that another plan has.
    pub(super) planned: HashSet<Digest>,
    /// Manifests that no plan before has visited.
    pub(super) visited: Vec<Digest>,
}

impl Records {
    pub(super) fn add(&mut self, record: &Trashed) {
        let has_tags = !record.tags.is_empty();
        self.manifests.insert(record.digest, (record.id, has_tags));
    }
}

impl Plan {
    pub(super) fn visit(&mut self, digest: Digest, visited: &mut HashSet<Digest>) {
        if visited.insert(digest) {
            self.visited.push(digest);
        }
    }

    /// Makes what this plan has visited new for others.
    pub(super) fn discard(self, visited: &mut HashSet<Digest>) {
        for digest in self.visited {
            visited.remove(&digest);
        }
    }
}
