//! [`FailureLimit`].

use std::time::Duration;

/// Limit on wrong passwords for a user from one address, or for all users from one network.
///
/// Behind a proxy that hides its clients, all of them have one address. There, a client that tries passwords for a user
/// can prevent that user from logging in. Passwords that were verified recently are never refused.
///
/// ```
/// use registry_auth_htpasswd::FailureLimit;
/// use std::time::Duration;
///
/// // Five wrong passwords, and one more every minute.
/// let limit = FailureLimit::new(5, Duration::from_secs(60));
/// assert_eq!(limit.failures, 5);
/// assert_eq!(FailureLimit::default().failures, 10);
/// ```
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
