//! A recently verified password, so that the requests of a push do not hash it again and again.
//!
//! One is kept with each line of the file, so the file bounds their number, and a changed line drops its password. Only
//! a digest is kept, under a random key of this process, for a bounded time after its last use. Verifying again after a
//! fixed time would show nothing: the password and the line are the same.

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

/// A place for one verified password. Times are counted from one start.
#[derive(Default)]
pub(crate) struct Remembered(RwLock<Option<Kept>>);

struct Kept {
    digest: Digest,
    used: AtomicU64,
}

impl Remembered {
    /// Remembers a password in place of the previous one.
    pub(crate) fn keep(&self, digest: Digest, now: Duration) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Kept {
            digest,
            used: AtomicU64::new(millis(now)),
        });
    }

    /// Returns true if this password is remembered and was used within `unused`; if so, marks it as used now.
    pub(crate) fn is(&self, digest: Digest, now: Duration, unused: Duration) -> bool {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { return false };
        let same: bool = kept.digest.ct_eq(&digest).into();
        let valid = same && !kept.expired(now, unused);
        if valid {
            kept.used.fetch_max(millis(now), Ordering::Relaxed);
        }
        valid
    }

    /// Forgets the password if it was not used within `unused`.
    pub(crate) fn forget(&self, now: Duration, unused: Duration) {
        let expired = |kept: &Option<Kept>| kept.as_ref().is_some_and(|kept| kept.expired(now, unused));
        if expired(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if expired(&kept) {
                *kept = None;
            }
        }
    }
}

impl Kept {
    fn expired(&self, now: Duration, unused: Duration) -> bool {
        millis(now).saturating_sub(self.used.load(Ordering::Relaxed)) > millis(unused)
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
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
    fn a_password_is_remembered_as_long_as_it_is_used() {
        let place = Remembered::default();
        assert!(!place.is([1; 32], at(0), UNUSED));
        place.keep([1; 32], at(0));

        assert!(place.is([1; 32], at(300), UNUSED));
        assert!(!place.is([2; 32], at(300), UNUSED));
        assert!(place.is([1; 32], at(600), UNUSED));
        assert!(!place.is([1; 32], at(901), UNUSED));
    }

    #[test]
    fn what_was_not_used_is_forgotten() {
        let place = Remembered::default();
        place.keep([1; 32], at(0));

        place.forget(at(300), UNUSED);
        assert!(place.0.read().unwrap().is_some());
        place.forget(at(301), UNUSED);
        assert!(place.0.read().unwrap().is_none());
    }

    #[test]
    fn a_new_password_takes_the_place_of_the_old() {
        let place = Remembered::default();
        place.keep([1; 32], at(0));
        place.keep([2; 32], at(1));

        assert!(!place.is([1; 32], at(1), UNUSED));
        assert!(place.is([2; 32], at(1), UNUSED));
    }
}
