//! [`KeyedLocks`]: one lock per key. [`Slots`]: a limit of concurrent operations.

use crate::seams::Waits;
use std::{
    collections::HashSet,
    fmt,
    hash::Hash,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Locks that are identified by a key. No lock covers more than its key, and keys without a holder cost nothing.
pub(crate) struct KeyedLocks<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    holders: Mutex<Holders<K>>,
    freed: Condvar,
    waits: Waits,
}

struct Holders<K> {
    held: HashSet<K>,
    /// Number of threads that wait. Waking threads is a system call even if there are none.
    waiting: usize,
}

/// A held lock. It is an owned value that moves into the closure that does the work: dropping the future that waits
/// for the closure cannot release it early.
pub(crate) struct Held<K: Eq + Hash> {
    shared: Arc<Shared<K>>,
    key: K,
}

impl<K: Clone + Eq + Hash> KeyedLocks<K> {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                holders: Mutex::new(Holders {
                    held: HashSet::new(),
                    waiting: 0,
                }),
                freed: Condvar::new(),
                waits: Waits::default(),
            }),
        }
    }

    /// Waits for the lock. To be called only on the blocking pool.
    pub(crate) fn lock(&self, key: K) -> Held<K> {
        let mut holders = self.shared.holders();
        if holders.held.contains(&key) {
            let _waiting = self.shared.waits.begin();
            holders.waiting += 1;
            holders = self
                .shared
                .freed
                .wait_while(holders, |holders| holders.held.contains(&key))
                .unwrap_or_else(PoisonError::into_inner);
            holders.waiting -= 1;
        }
        holders.held.insert(key.clone());
        self.held(key)
    }

    /// Takes the lock; `None` if it is held.
    pub(crate) fn try_lock(&self, key: K) -> Option<Held<K>> {
        let mut holders = self.shared.holders();
        holders.held.insert(key.clone()).then(|| self.held(key))
    }

    /// Returns true if a thread waits.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.shared.waits.any()
    }

    fn held(&self, key: K) -> Held<K> {
        Held {
            shared: Arc::clone(&self.shared),
            key,
        }
    }
}

impl<K> Shared<K> {
    fn holders(&self) -> MutexGuard<'_, Holders<K>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        let mut holders = self.shared.holders();
        holders.held.remove(&self.key);
        let is_waited_for = holders.waiting > 0;
        drop(holders);
        if is_waited_for {
            self.shared.freed.notify_all();
        }
    }
}

impl<K> fmt::Debug for KeyedLocks<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLocks").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash> fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// Bounds the number of concurrent operations of a kind.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A slot, returned on drop.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) const fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Returns the number of free slots.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot. To be called only on the blocking pool, and only for operations that end by themselves.
    pub(crate) fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_key_is_held_once_and_others_are_not_in_its_way() {
        let locks = KeyedLocks::new();
        let held = locks.try_lock("a").unwrap();

        assert!(locks.try_lock("a").is_none());
        assert!(locks.try_lock("b").is_some());

        drop(held);
        assert!(locks.try_lock("a").is_some());
    }

    #[test]
    fn no_more_have_a_slot_at_once_than_there_are() {
        let (slots, most) = (Slots::new(3), Mutex::new((0, 0)));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _slot = slots.take();
                    {
                        let mut counts = most.lock().unwrap();
                        counts.0 += 1;
                        counts.1 = counts.1.max(counts.0);
                    }
                    thread::yield_now();
                    most.lock().unwrap().0 -= 1;
                });
            }
        });
        assert!(most.lock().unwrap().1 <= 3);
        assert_eq!(*slots.free.lock().unwrap(), 3);
    }

    #[test]
    fn whoever_waits_gets_it_in_the_end() {
        let locks = KeyedLocks::new();
        let count = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _held = locks.lock("a");
                    // Without the lock around both, one of the additions would be lost.
                    let seen = *count.lock().unwrap();
                    thread::yield_now();
                    *count.lock().unwrap() = seen + 1;
                });
            }
        });
        assert_eq!(*count.lock().unwrap(), 8);
    }
}
