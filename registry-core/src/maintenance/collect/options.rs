//! [`CollectOptions`]: rules and limits of one run.

use crate::storage::Terms;
use std::{num::NonZeroU32, time::Duration};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Rules and limits of one run of [`collect`](super::collect).
///
/// ```
/// use registry_core::maintenance::CollectOptions;
///
/// // What `registry:2` calls `garbage-collect --delete-untagged --dry-run`.
/// let options = CollectOptions::new().untagged(true).dry_run(true);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct CollectOptions {
    pub(super) terms: Terms,
    pub(super) untagged: bool,
    pub(super) dry_run: bool,
    pub(super) force: bool,
    pub(super) automatic: bool,
    pub(super) rate: Option<NonZeroU32>,
    pub(super) hurried: bool,
}

impl CollectOptions {
    /// Describes a run that somebody asks for. Content goes if nothing refers to it, and either a deletion released it
    /// after its last use, or nobody has used it for 24 hours.
    pub const fn new() -> Self {
        Self {
            terms: Terms::new()
                .with_grace(Duration::from_secs(24 * 60 * 60))
                .with_released(true)
                .with_uploading(HOUR),
            untagged: false,
            dry_run: false,
            force: false,
            automatic: false,
            rate: None,
            hurried: false,
        }
    }

    /// Describes a run that nobody asks for. Content goes if nothing refers to it and nobody has used it for 24 hours,
    /// also if a deletion released it. The run removes at most 500 items per second, and nothing if it would free more
    /// than half of all bytes and no deletion accounts for that.
    pub const fn automatic() -> Self {
        let asked = Self::new();
        Self {
            terms: asked.terms.with_released(false),
            automatic: true,
            rate: NonZeroU32::new(500),
            ..asked
        }
    }

    /// Sets the time without use after which content goes. In a run that somebody asks for, content that a deletion
    /// has released goes sooner. Zero suits a storage that nobody pushes to during the run.
    pub const fn grace(self, grace: Duration) -> Self {
        Self {
            terms: self.terms.with_grace(grace),
            ..self
        }
    }

    /// Sets if manifests go that are not tagged, not part of another manifest, and do not refer to one that stays. By
    /// default every manifest stays.
    pub const fn untagged(self, untagged: bool) -> Self {
        Self { untagged, ..self }
    }

    /// Sets if the run only reports what it would remove. It then writes nothing.
    pub const fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Returns true if the run writes nothing.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Sets if the run first forgets all records of deletions. What was deleted before can then not be restored, and
    /// neither can what the run removes. By default both are kept until their records expire.
    pub const fn empty_trash(self, empty: bool) -> Self {
        Self {
            terms: self.terms.with_permanent(empty),
            ..self
        }
    }

    /// Sets if a run goes on although much is missing or would go: see [`Stopped`](super::Stopped).
    pub const fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Sets the maximum number of removals per second. A run with such a number also looks at the storage for about a quarter
    /// of its time, so that requests have the rest. `None` looks and removes as fast as possible.
    pub const fn rate(self, rate: Option<NonZeroU32>) -> Self {
        Self { rate, ..self }
    }

    /// Sets if a run with a rate does not rest while it looks at the storage.
    pub(super) const fn hurried(self, hurried: bool) -> Self {
        Self { hurried, ..self }
    }

    /// Sets the time after an upload request for which its repository keeps the blobs that no manifest names yet: an hour
    /// by default. Zero suits a storage that nobody pushes to during the run.
    pub const fn uploading(self, time: Duration) -> Self {
        Self {
            terms: self.terms.with_uploading(time),
            ..self
        }
    }
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self::new()
    }
}
