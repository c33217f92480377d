//! [`VerifiedPassword`]: the password that was last verified against a line of the file, so that the requests of a
//! push hash it once.
//!
//! Each line has one, so the file bounds their number, and a line that changes loses its password. Only a digest under
//! a random key of this process is stored, for a bounded time after its last use. To verify the password again after a
//! fixed time would show nothing new: the password and the line are the same.

use crate::clock::millis;
use std::{
    fmt,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq as _;

/// Digest that represents a password.
pub(crate) type Digest = [u8; 32];

/// Cache of one verified password. All times count from the same start.
#[derive(Default)]
pub(crate) struct VerifiedPassword(RwLock<Option<Cached>>);

struct Cached {
    digest: Digest,
    used: AtomicU64,
}

impl VerifiedPassword {
    /// Caches a password in place of the previous one.
    pub(crate) fn cache(&self, digest: Digest, now: Duration) {
        let mut cached = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *cached = Some(Cached {
            digest,
            used: AtomicU64::new(millis(now)),
        });
    }

    /// Returns true if this password is cached and was used within `unused`; if so, marks it as used now.
    pub(crate) fn is(&self, digest: Digest, now: Duration, unused: Duration) -> bool {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(cached) = &*cached else { return false };
        let same: bool = cached.digest.ct_eq(&digest).into();
        let valid = same && !cached.expired(now, unused);
        if valid {
            cached.used.fetch_max(millis(now), Ordering::Relaxed);
        }
        valid
    }

    /// Drops the password if it was not used within `unused`.
    pub(crate) fn drop_unused(&self, now: Duration, unused: Duration) {
        let expired =
            |cached: &Option<Cached>| cached.as_ref().is_some_and(|cached| cached.expired(now, unused));
        if expired(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut cached = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if expired(&cached) {
                *cached = None;
            }
        }
    }
}

impl Cached {
    fn expired(&self, now: Duration, unused: Duration) -> bool {
        millis(now).saturating_sub(self.used.load(Ordering::Relaxed)) > millis(unused)
    }
}

impl fmt::Debug for VerifiedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedPassword")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSED: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_password_is_cached_as_long_as_it_is_used() {
        let verified = VerifiedPassword::default();
        assert!(!verified.is([1; 32], at(0), UNUSED));
        verified.cache([1; 32], at(0));

        assert!(verified.is([1; 32], at(300), UNUSED));
        assert!(!verified.is([2; 32], at(300), UNUSED));
        assert!(verified.is([1; 32], at(600), UNUSED));
        assert!(!verified.is([1; 32], at(901), UNUSED));
    }

    #[test]
    fn an_unused_password_is_dropped() {
        let verified = VerifiedPassword::default();
        verified.cache([1; 32], at(0));

        verified.drop_unused(at(300), UNUSED);
        assert!(verified.0.read().unwrap().is_some());
        verified.drop_unused(at(301), UNUSED);
        assert!(verified.0.read().unwrap().is_none());
    }

    #[test]
    fn a_new_password_replaces_the_old_one() {
        let verified = VerifiedPassword::default();
        verified.cache([1; 32], at(0));
        verified.cache([2; 32], at(1));

        assert!(!verified.is([1; 32], at(1), UNUSED));
        assert!(verified.is([2; 32], at(1), UNUSED));
    }
}
