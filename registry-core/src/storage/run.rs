//! [`Run`]: an open run of a collection, with its [`Terms`] and the [`Census`] of the previous one.

use std::{any::Any, fmt, time::Duration};

/// Conditions under which a run removes what nothing refers to.
///
/// ```
/// use registry_core::storage::Terms;
/// use std::time::Duration;
///
/// // What was deleted goes at once, and the rest once nobody has touched it for a day.
/// let terms = Terms::new().with_grace(Duration::from_secs(24 * 60 * 60)).with_released(true);
/// assert!(terms.released && !terms.permanent);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// Time without a touch after which an item is idle. Zero: it was not touched since the run began.
    ///
    /// A storage may forget all touches with its last handle. After an opening, everything then counts as touched at
    /// the opening, except for a grace period of zero.
    pub grace: Duration,
    /// True if an item is also idle when a deletion or the move of a tag released it after its last touch. Content
    /// that a deleted manifest named is released, too.
    pub released: bool,
    /// Time after an upload request for which a repository keeps its links, except those that a deletion has released
    /// after their last touch, and those that nobody has touched for a [day](Self::LONGEST_PUSH). A client may still push
    /// the manifest that names them. Applies on top of [`grace`](Self::grace). Requests before the opening of a storage
    /// may be forgotten.
    pub uploading: Duration,
    /// True if removed manifests cannot be restored: they go into no trash.
    pub permanent: bool,
    /// True if somebody has asked for the run. Once it has ended, the storage [is
    /// own](super::StorageCollect::is_own).
    pub asked: bool,
}

impl Terms {
    /// Time after which a link is not taken for a part of a push that is still going on.
    pub const LONGEST_PUSH: Duration = Duration::from_secs(24 * 60 * 60);

    /// Describes a run without a grace period.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            grace: Duration::ZERO,
            released: false,
            uploading: Duration::ZERO,
            permanent: false,
            asked: false,
        }
    }

    /// Sets the time without a touch after which an item is idle.
    #[must_use]
    pub const fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Sets if released items are idle, too.
    #[must_use]
    pub const fn with_released(self, released: bool) -> Self {
        Self { released, ..self }
    }

    /// Sets the time for which a repository keeps its links after an upload request.
    #[must_use]
    pub const fn with_uploading(self, uploading: Duration) -> Self {
        Self { uploading, ..self }
    }

    /// Sets if removed manifests go into no trash.
    #[must_use]
    pub const fn with_permanent(self, permanent: bool) -> Self {
        Self { permanent, ..self }
    }

    /// Sets if somebody has asked for the run.
    #[must_use]
    pub const fn with_asked(self, asked: bool) -> Self {
        Self { asked, ..self }
    }
}

/// An open run. It ends with [`end`](super::StorageCollect::end), or when it is dropped.
#[non_exhaustive]
pub struct Run {
    /// Number of the run, which the storage assigns.
    pub id: u64,
    /// Conditions of the run.
    pub terms: Terms,
    /// Counts that the previous run ended with. `None` before the first one has ended.
    pub previous: Option<Census>,
    /// Number of manifests that have gone since the previous run ended: that requests have deleted, for good or not, or
    /// that runs have removed which did not end. It survives an opening like [`previous`](Self::previous). Of many, it
    /// may be a few more.
    pub deleted: u64,
    /// Dropped with the run.
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Run {
    /// Describes a run after one that ended with `previous`.
    #[must_use]
    pub const fn new(id: u64, terms: Terms, previous: Option<Census>) -> Self {
        Self {
            id,
            terms,
            previous,
            deleted: 0,
            _guard: None,
        }
    }

    /// Sets the number of manifests that have gone since the previous run ended.
    #[must_use]
    pub fn with_deleted(self, deleted: u64) -> Self {
        Self { deleted, ..self }
    }

    /// Returns the number of manifests that the previous run has left, without those that have gone since. `None` before
    /// the first run has ended.
    #[must_use]
    pub fn expected_manifests(&self) -> Option<u64> {
        let left = self.previous?.manifests;
        Some(left.saturating_sub(self.deleted))
    }

    /// Keeps a value until the run ends. A storage learns by its `Drop` that a run was dropped.
    #[must_use]
    pub fn holding(self, guard: impl Any + Send + Sync) -> Self {
        Self {
            _guard: Some(Box::new(guard)),
            ..self
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            terms,
            previous,
            deleted,
            _guard: _,
        } = self;
        f.debug_struct("Run")
            .field("id", id)
            .field("terms", terms)
            .field("previous", previous)
            .field("deleted", deleted)
            .finish_non_exhaustive()
    }
}

/// Counts at the end of a run, which the next one compares with what it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Number of manifests that are left.
    pub manifests: u64,
    /// True if the run has seen everything, and kept nothing because it could not be read or because somebody was
    /// pushing. What is left although it was due is then in use. A storage need not remember it.
    pub complete: bool,
}

impl Census {
    /// Describes a storage with this number of manifests.
    #[must_use]
    pub const fn new(manifests: u64) -> Self {
        Self {
            manifests,
            complete: false,
        }
    }

    /// Sets [`complete`](Self::complete), which is false by default.
    #[must_use]
    pub const fn with_complete(self, complete: bool) -> Self {
        Self { complete, ..self }
    }
}
