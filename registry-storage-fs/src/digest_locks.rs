//! [`DigestLocks`]: read-write locks by digest, in a fixed number of stripes.
//!
//! A push holds the locks of everything that it relies on in shared mode, until its own files are durable. Whoever
//! removes content holds its lock exclusively. Two digests may have the same stripe, which costs some waiting.
//!
//! Nothing here deadlocks: the stripes of one call are locked in order, each once, and a thread that holds some locks
//! more without waiting, or not at all. A lock is held by the closure that does the work, never by a future.

use crate::seams::Waits;
use registry_core::{Digest, RepositoryName};
use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};

/// Number of stripes: few enough to be locked one after the other, and many more than threads that hold one.
const STRIPES: u64 = 4096;

/// Number of a digest or a repository, which selects its stripe. Two of them may have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

impl Key {
    #[cfg(test)]
    pub(crate) const fn of(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    fn stripe(self) -> usize {
        usize::try_from(self.0 % STRIPES).unwrap_or_default()
    }
}

pub(crate) struct DigestLocks {
    stripes: Box<[RwLock<()>]>,
    /// Random, so that no client can choose digests of the same stripe.
    hasher: RandomState,
    waits: Waits,
}

/// Locks in shared mode.
pub(crate) struct SharedLocks<'a> {
    locks: &'a DigestLocks,
    /// By stripe, in order.
    held: Vec<(usize, RwLockReadGuard<'a, ()>)>,
}

/// Locks in exclusive mode.
pub(crate) struct ExclusiveLocks<'a> {
    _held: Vec<RwLockWriteGuard<'a, ()>>,
}

impl Default for DigestLocks {
    fn default() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            waits: Waits::default(),
        }
    }
}

impl DigestLocks {
    pub(crate) fn key(&self, digest: &Digest) -> Key {
        Key(self.hasher.hash_one(digest.as_bytes()))
    }

    /// Returns the key of a repository, which protects its directories.
    pub(crate) fn repository(&self, name: &RepositoryName) -> Key {
        Key(self.hasher.hash_one(name.as_str()))
    }

    /// Waits for locks in shared mode. The caller holds no others.
    pub(crate) fn shared(&self, keys: impl IntoIterator<Item = Key>) -> SharedLocks<'_> {
        let stripes = in_order(keys).into_iter();
        let held = stripes.filter_map(|stripe| Some((stripe, self.read(self.stripes.get(stripe)?))));
        SharedLocks {
            locks: self,
            held: held.collect(),
        }
    }

    /// Waits for locks in exclusive mode. The caller holds no others.
    pub(crate) fn exclusive(&self, keys: impl IntoIterator<Item = Key>) -> ExclusiveLocks<'_> {
        let stripes = in_order(keys).into_iter();
        let held = stripes.filter_map(|stripe| Some(self.write(self.stripes.get(stripe)?)));
        ExclusiveLocks {
            _held: held.collect(),
        }
    }

    /// Takes locks in exclusive mode; `None` if a thread holds one of them.
    pub(crate) fn try_exclusive(&self, keys: impl IntoIterator<Item = Key>) -> Option<ExclusiveLocks<'_>> {
        let stripes = in_order(keys).into_iter();
        let held = stripes.map(|stripe| match self.stripes.get(stripe)?.try_write() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let held: Option<Vec<_>> = held.collect();
        held.map(|held| ExclusiveLocks { _held: held })
    }

    fn read<'a>(&self, stripe: &'a RwLock<()>) -> RwLockReadGuard<'a, ()> {
        if let Ok(guard) = stripe.try_read() {
            return guard;
        }
        let _waiting = self.waits.begin();
        stripe.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<'a>(&self, stripe: &'a RwLock<()>) -> RwLockWriteGuard<'a, ()> {
        if let Ok(guard) = stripe.try_write() {
            return guard;
        }
        let _waiting = self.waits.begin();
        stripe.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a thread waits.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waits.any()
    }

    /// Waits until every lock that is held now was released once. No more than one stripe is locked at a time.
    pub(crate) fn wait_for_holders(&self) {
        for stripe in &self.stripes {
            drop(self.write(stripe));
        }
    }
}

/// Returns the stripes of keys, each once, in the order in which every thread locks them.
fn in_order(keys: impl IntoIterator<Item = Key>) -> Vec<usize> {
    let mut stripes: Vec<usize> = keys.into_iter().map(Key::stripe).collect();
    stripes.sort_unstable();
    stripes.dedup();
    stripes
}

impl SharedLocks<'_> {
    /// Locks one more key, without waiting. Returns false if a thread holds it exclusively, or waits for that. The
    /// caller then has to release all its locks, and to begin again with this key among them.
    #[must_use]
    pub(crate) fn try_add(&mut self, key: Key) -> bool {
        let stripe = key.stripe();
        let Err(place) = self.held.binary_search_by_key(&stripe, |(held, _)| *held) else {
            return true;
        };
        let guard = self.locks.stripes.get(stripe).map(RwLock::try_read);
        let guard = match guard {
            Some(Ok(guard)) => guard,
            Some(Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
            Some(Err(TryLockError::WouldBlock)) | None => return false,
        };
        self.held.insert(place, (stripe, guard));
        true
    }
}

impl fmt::Debug for DigestLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestLocks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::Algorithm;
    use std::{sync::mpsc, thread};

    fn digest(number: usize) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_be_bytes())
    }

    /// Returns the keys of two digests with the same stripe, and of one with another stripe.
    fn colliding(locks: &DigestLocks) -> (Key, Key, Key) {
        let first = locks.key(&digest(0));
        let keys = || (1..).map(|number| locks.key(&digest(number)));
        let same = keys().find(|key| key.stripe() == first.stripe());
        let other = keys().find(|key| key.stripe() != first.stripe());
        (first, same.unwrap(), other.unwrap())
    }

    #[test]
    fn stripes_are_locked_in_order_and_each_once() {
        let locks = DigestLocks::default();
        let (first, same, _) = colliding(&locks);

        let all = in_order((0..10_000).map(|number| locks.key(&digest(number))));
        assert!(all.is_sorted_by(|a, b| a < b) && all.len() > 2000);

        // Twice in one call, this would never return.
        drop(locks.exclusive([first, same, first]));
        drop(locks.shared([first, same, first]));
    }

    #[test]
    fn whoever_relies_on_content_and_whoever_removes_it_exclude_each_other() {
        let locks = DigestLocks::default();
        let (first, same, other) = colliding(&locks);
        let is_free = |key| locks.shared([]).try_add(key);

        let mut relying = locks.shared([first]);
        assert!(is_free(first) && is_free(same));
        assert!(relying.try_add(same) && relying.try_add(other));
        drop(relying);

        for waits in [true, false] {
            let removing = match waits {
                true => locks.exclusive([first]),
                false => locks.try_exclusive([first, same]).unwrap(),
            };
            assert!(!is_free(first) && !is_free(same) && is_free(other));
            assert!(locks.try_exclusive([other, same]).is_none());
            drop(removing);
            assert!(is_free(first));
        }
        let relying = locks.shared([same]);
        assert!(locks.try_exclusive([first]).is_none() && locks.try_exclusive([other]).is_some());
        drop(relying);
    }

    /// Each waits only for stripes that are higher than all it holds.
    #[test]
    fn threads_that_lock_many_keys_in_any_order_all_get_them() {
        let locks = DigestLocks::default();
        let (done, ends) = mpsc::channel();
        thread::scope(|scope| {
            for worker in 0..8usize {
                let (locks, done) = (&locks, done.clone());
                scope.spawn(move || {
                    for round in 0..200 {
                        let numbers = (0..20).map(|n| (n * 7 + worker * 13 + round) % 64);
                        let keys: Vec<Key> = numbers.map(|number| locks.key(&digest(number))).collect();
                        match worker % 2 {
                            0 => {
                                let mut held = locks.shared(keys.iter().take(10).copied());
                                let _ = keys.iter().skip(10).all(|key| held.try_add(*key));
                            }
                            _ => drop(locks.exclusive(keys)),
                        }
                    }
                    done.send(()).unwrap();
                });
            }
        });
        assert_eq!(ends.try_iter().count(), 8);
    }

    #[test]
    fn whoever_waits_for_the_holders_waits_for_all_of_them() {
        let locks = DigestLocks::default();
        let (first, _, other) = colliding(&locks);
        let (relying, removing) = (locks.shared([first]), locks.exclusive([other]));
        let (done, ends) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                locks.wait_for_holders();
                done.send(()).unwrap();
            });
            assert!(ends.try_recv().is_err());
            drop(relying);
            assert!(ends.try_recv().is_err());
            drop(removing);
            ends.recv().unwrap();
        });
    }
}
