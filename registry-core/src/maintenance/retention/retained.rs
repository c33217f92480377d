//! [`Retained`]: the result of a run of retention.

use super::{failure::Failure, survey::Survey};

/// Result of a run of [`Registry::retain`](crate::Registry::retain). After a [dry run](super::Retain::dry_run), the numbers are those
/// of what a run would drop if clients used nothing meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// Decisions before the run.
    pub survey: Survey,
    /// Index of a rule that would have dropped more than half of its tags. Then nothing was dropped.
    pub excessive: Option<usize>,
    /// Number of tags that were dropped, including those that belonged to a dropped manifest.
    pub tags: u64,
    /// Number of manifests that were removed with their last tags.
    pub manifests: u64,
    /// Number of manifests that have lost their last tag and are still there: they were used recently, or the
    /// storage collects nothing.
    pub left: u64,
    /// Tags that a hook or a failure kept, and repositories in which the run failed, though the
    /// [survey](Self::survey) did not.
    pub failures: Vec<Failure>,
}

impl Retained {
    /// Returns all failures, also those of the survey.
    pub fn all_failures(&self) -> impl Iterator<Item = &Failure> {
        self.survey.failures.iter().chain(&self.failures)
    }
}
