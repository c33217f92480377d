//! [`VerifyOptions`]: the extent and the pace of a verification.

use crate::{digest::Digest, maintenance::clock::Clock};
use std::{fmt, time::Duration};

/// Number of items listed at once.
pub(super) const PAGE: usize = 256;

/// Options of [`verify`](super::verify).
///
/// ```
/// use registry_core::maintenance::VerifyOptions;
///
/// // Looks at the records only, which is fast.
/// let quick = VerifyOptions::new().contents(false);
/// // Repairs what can be repaired.
/// let repairing = VerifyOptions::new().repair(true);
/// # drop((quick, repairing));
/// ```
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    pub(super) repair: bool,
    pub(super) force: bool,
    pub(super) contents: bool,
    /// Content that is compared with its digests if other content is not.
    pub(super) suspects: &'a [Digest],
    pub(super) sparse_indexes: bool,
    pace: Option<(u64, &'a dyn Clock)>,
}

impl<'a> VerifyOptions<'a> {
    /// Reports everything, repairs nothing, and reads as fast as possible.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            repair: false,
            force: false,
            contents: true,
            suspects: &[],
            sparse_indexes: false,
            pace: None,
        }
    }

    /// Sets whether damage is repaired. Default: false.
    #[must_use]
    pub const fn repair(self, repair: bool) -> Self {
        Self { repair, ..self }
    }

    /// Repairs however much is corrupt. Default: false.
    ///
    /// Otherwise more than 10 corrupt items, or more than 1 % of all, stop every repair; a single one never does. The
    /// cause is then likely a disk, a controller or memory, and the content may be sound when that is replaced.
    #[must_use]
    pub const fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Sets whether content is compared with its digests. Default: true. Otherwise only records are looked at.
    #[must_use]
    pub const fn contents(self, contents: bool) -> Self {
        Self { contents, ..self }
    }

    /// Compares only this content with its digests, which was found damaged before.
    pub(super) const fn suspects(self, suspects: &'a [Digest]) -> Self {
        Self {
            contents: false,
            suspects,
            ..self
        }
    }

    /// Sets whether an index may name manifests that the repository does not have, as in
    /// [`Builder::allow_sparse_indexes`](crate::service::Builder::allow_sparse_indexes). Default: false.
    #[must_use]
    pub const fn sparse_indexes(self, sparse_indexes: bool) -> Self {
        Self {
            sparse_indexes,
            ..self
        }
    }

    /// Reads at most this number of bytes of content in a second. `clock` is the host's.
    #[must_use]
    pub const fn at_most(self, bytes_per_second: u64, clock: &'a dyn Clock) -> Self {
        Self {
            pace: Some((bytes_per_second, clock)),
            ..self
        }
    }

    pub(super) fn pacer(&self) -> Pacer<'a> {
        Pacer {
            pace: self.pace,
            debt: 0,
        }
    }
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("repair", &self.repair)
            .field("force", &self.force)
            .field("contents", &self.contents)
            .field("suspects", &self.suspects)
            .field("sparse_indexes", &self.sparse_indexes)
            .field("bytes_per_second", &self.pace.map(|(rate, _)| rate))
            .finish()
    }
}

/// Rests after reads, so that they stay below a rate. The time of the reads themselves comes on top.
pub(in crate::maintenance) struct Pacer<'a> {
    pace: Option<(u64, &'a dyn Clock)>,
    /// Bytes that were read since the last rest.
    debt: u64,
}

impl<'a> Pacer<'a> {
    /// Allows a number of bytes in a second.
    pub(in crate::maintenance) const fn new(bytes_per_second: u64, clock: &'a dyn Clock) -> Self {
        Self {
            pace: Some((bytes_per_second, clock)),
            debt: 0,
        }
    }

    /// Records that bytes were read, and rests if it is time.
    pub(in crate::maintenance) async fn read(&mut self, bytes: u64) {
        let Some((rate, clock)) = self.pace else {
            return;
        };
        let rate = rate.max(1);
        self.debt = self.debt.saturating_add(bytes);
        // Shorter rests would cost more than they give.
        if self.debt >= rate.div_ceil(10) {
            let millis = u128::from(self.debt) * 1000 / u128::from(rate);
            self.debt = 0;
            clock
                .sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
                .await;
        }
    }
}
