//! [`FailureLimit`].

use std::time::Duration;

/// Limit on wrong passwords for a user from one address, or for all users from one network.
///
/// Behind a proxy that hides its clients everybody has one address. There, a client that tries passwords for a user can
/// keep that user from logging in. It does not stop their work: passwords that were verified lately are never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureLimit {
    /// Number of consecutive failures allowed, at least 1. Default: 10.
    pub failures: u32,
    /// Time after which one failure is forgiven. Default: 30 seconds.
    pub forgiven_after: Duration,
}

impl FailureLimit {
    /// Allows so many consecutive failures, and one more after each `forgiven_after`.
    #[must_use]
    pub const fn new(failures: u32, forgiven_after: Duration) -> Self {
        Self {
            failures,
            forgiven_after,
        }
    }
}

impl FailureLimit {
    /// Limit for a network with all its users, and for a user behind a presumed proxy: 100, of which one is forgiven
    /// every 3 seconds.
    pub(crate) const MANY: Self = Self::new(100, Duration::from_secs(3));

    /// Multiplies the number of failures and the speed at which they are forgiven.
    pub(crate) fn times(self, times: u32) -> Self {
        Self {
            failures: self.failures.max(1).saturating_mul(times),
            forgiven_after: self.forgiven_after / times.max(1),
        }
    }
}

impl Default for FailureLimit {
    fn default() -> Self {
        Self::new(10, Duration::from_secs(30))
    }
}
