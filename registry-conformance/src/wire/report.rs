//! [`Report`] of a run: a [`Verdict`] for each case.

use super::failure::Failure;
use std::fmt;

/// Result of one case, compared with the expected result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The case passed, as it must.
    Passed,
    /// The case failed, as [`KnownFailures`](super::KnownFailures) demands.
    FailedAsKnown(Failure),
    /// The case failed.
    Failed(Failure),
    /// The case passed, although it is one of the [`KnownFailures`](super::KnownFailures).
    PassedUnexpectedly,
    /// The case was left out by the filter.
    Skipped,
}

impl Verdict {
    /// Returns true if this is as expected.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Passed | Self::FailedAsKnown(_) | Self::Skipped)
    }
}

/// Results of all cases.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) verdicts: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// Returns each case's name and verdict, in the order of the names.
    #[must_use]
    pub fn verdicts(&self) -> &[(&'static str, Verdict)] {
        &self.verdicts
    }

    /// Returns true if every case ended as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.is_good())
    }

    fn count(&self, counts: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts
            .iter()
            .filter(|(_, verdict)| counts(verdict))
            .count()
    }
}

/// Writes the last line of a run: `N passed, N failed, N skipped`. A known failure that fails has passed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.count(|verdict| matches!(verdict, Verdict::Skipped));
        let failed = self.count(|verdict| !verdict.is_good());
        let passed = self.verdicts.len() - skipped - failed;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}
