//! [`CollectReport`]: result of a run, and the [`CollectEvent`]s on the way.

use super::pin::{Pin, text_of};
use crate::{
    name::RepositoryName,
    storage::{Reclaimed, StorageError, Victim},
};
use std::{fmt, time::Duration};

/// Maximum number of pins in a report.
const PINS: usize = 100;

/// Result of [`collect`](super::collect).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CollectReport {
    /// True if nothing was removed, because the options said so: the counts are of what would be removed.
    pub dry_run: bool,
    /// Number of repositories that were looked at.
    pub repositories: u64,
    /// Number of their manifests.
    pub manifests: u64,
    /// Items that were removed.
    pub removed: Removed,
    /// Number of items that nothing refers to, but that were used during the run, or are in use otherwise.
    pub in_use: u64,
    /// Items that nothing refers to, but that were used recently.
    pub later: Later,
    /// Number of records of deletions that were forgotten.
    pub forgotten: u64,
    /// Number of tags in them, which can no longer be restored.
    pub forgotten_tags: u64,
    /// Content that stays because its deletion can be undone.
    pub restorable: Restorable,
    /// Number of manifests that stay only because untagged ones do. With
    /// [`untagged`](super::CollectOptions::untagged) they would go.
    pub untagged: u64,
    /// Number of bytes that only they keep.
    pub untagged_bytes: u64,
    /// Number of items that cannot be read.
    pub pinned: u64,
    /// Number of bytes that only they may refer to.
    pub pinned_bytes: u64,
    /// The first of the items that cannot be read. [`CollectEvent::Pin`] has all of them.
    pub pins: Vec<Pin>,
    /// Reason for which the run ended early. What was removed before stays removed.
    pub stopped: Option<Stopped>,
}

/// Number of items that were removed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Manifests.
    pub manifests: u64,
    /// Links of repositories to blobs.
    pub links: u64,
    /// Blobs, and bytes of manifests where a storage keeps them as blobs.
    pub data: u64,
    /// Repositories.
    pub repositories: u64,
    /// Number of bytes that this freed.
    pub bytes: u64,
}

/// Items that may go later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Later {
    /// Number of items.
    pub items: u64,
    /// Number of bytes that only they keep.
    pub bytes: u64,
    /// Time after which the first of them is due.
    pub first: Option<Duration>,
    /// Time after which the last of them is due.
    pub last: Option<Duration>,
}

/// Content that records of deletions keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restorable {
    /// Number of tags that can be restored.
    pub tags: u64,
    /// Number of manifests that can be restored.
    pub manifests: u64,
    /// Number of bytes that stay for that alone, or for manifests without a tag, too.
    pub bytes: u64,
}

/// Reason for which a run ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stopped {
    /// Fewer than half of the manifests are left that the previous run saw and nobody deleted. Nothing was removed.
    #[non_exhaustive]
    ManifestsMissing {
        /// Number of manifests that were found.
        found: u64,
        /// Number of manifests that were expected.
        expected: u64,
    },
    /// There is content and no repository, and no run has ended in this storage before: a part of it may be missing.
    /// Nothing was removed.
    #[non_exhaustive]
    NoRepository {
        /// Number of blobs, none of which anything refers to.
        blobs: u64,
        /// Number of their bytes.
        bytes: u64,
    },
    /// Nobody asked for the run, it would free more than half of all bytes, and no deletion accounts for that. Nothing was
    /// removed.
    #[non_exhaustive]
    TooMuch {
        /// Number of bytes that no deletion accounts for.
        bytes: u64,
        /// Number of bytes that are stored.
        of: u64,
    },
    /// The storage failed. Without a complete view, nothing more is removed.
    Failed(StorageError),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManifestsMissing { found, expected } => write!(
                f,
                "nothing was removed: only {found} of {expected} expected manifests found; check the storage, then force the run"
            ),
            Self::NoRepository { blobs, bytes } => write!(
                f,
                "nothing was removed: 0 repositories found, so that all content would go ({blobs} blobs, {bytes} bytes); check that this is the right directory and that no mount is missing, then force the run"
            ),
            Self::TooMuch { bytes, of } => write!(
                f,
                "nothing was removed: {bytes} of {of} bytes would go without any deletion; preview the run, then force it"
            ),
            Self::Failed(error) => write!(f, "the run ended early: {}", text_of(error)),
        }
    }
}

/// Reason for which an item is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// No tag points at the manifest, no manifest that stays contains it, and it refers to none that stays.
    Untagged,
    /// No manifest of the repository names the blob.
    Unnamed,
    /// No repository holds the bytes, and no manifest names them.
    Unreferenced,
    /// The repository is empty.
    Empty,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untagged => "untagged",
            Self::Unnamed => "no manifest names it",
            Self::Unreferenced => "no repository refers to it",
            Self::Empty => "empty",
        })
    }
}

/// Step of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectEvent<'a> {
    /// A repository is looked at. A run that removes looks at all of them twice.
    #[non_exhaustive]
    Repository {
        /// Its name.
        name: &'a RepositoryName,
        /// Number of its manifests.
        manifests: u64,
    },
    /// Something cannot be read.
    Pin(&'a Pin),
    /// All removals are announced, and the run waits. The storage goes on with them in the next run if this one is dropped.
    #[non_exhaustive]
    Announced {
        /// Time until the removals begin.
        wait: Duration,
    },
    /// Nothing refers to an item.
    #[non_exhaustive]
    Item {
        /// The item.
        victim: &'a Victim,
        /// Reason for the removal.
        why: Why,
        /// Result. In a dry run, the result that a removal would have.
        result: &'a Reclaimed,
    },
}

impl CollectReport {
    pub(super) fn pin(&mut self, pin: Pin) {
        self.pinned += 1;
        if self.pins.len() < PINS {
            self.pins.push(pin);
        }
    }

    /// Counts the result for an item. `size` is the size of a blob.
    pub(super) fn count(&mut self, victim: &Victim, size: u64, result: &Reclaimed) {
        match result {
            Reclaimed::Removed { bytes } => {
                self.removed.bytes += bytes;
                let removed = &mut self.removed;
                *match victim {
                    Victim::Manifest(..) => &mut removed.manifests,
                    Victim::Link(..) => &mut removed.links,
                    Victim::Data(_) => &mut removed.data,
                    Victim::Repository(_) => &mut removed.repositories,
                } += 1;
            }
            Reclaimed::InUse => self.in_use += 1,
            Reclaimed::Later(after) => {
                let later = &mut self.later;
                later.items += 1;
                later.bytes += size;
                later.first = Some(later.first.map_or(*after, |first| first.min(*after)));
                later.last = later.last.max(Some(*after));
            }
            Reclaimed::Absent | Reclaimed::Failed(_) => {}
        }
    }
}
