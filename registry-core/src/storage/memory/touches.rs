//! Order and time of the last use of each item in memory, which a collection compares with its start.

use crate::storage::Terms;
use std::time::{Duration, Instant};

/// A point in the order of all uses and releases, with its time.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) order: u64,
    at: Instant,
}

impl Stamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "this backend lives in the core; the clock is monotonic, and decides only how long garbage stays"
    )]
    pub(super) fn new(order: u64) -> Self {
        Self {
            order,
            at: Instant::now(),
        }
    }
}

/// Last use and last release of an item.
#[derive(Clone, Copy)]
pub(super) struct Touch {
    last: Stamp,
    /// Order of the last deletion or tag move that released the item; 0 before the first.
    released: u64,
    /// Order of the last time that the record of such a deletion was forgotten; 0 before the first.
    forgotten: u64,
}

/// State of an item under the terms of a run.
pub(super) enum Idle {
    Yes,
    In(Duration),
}

impl Touch {
    pub(super) const fn new(stamp: Stamp) -> Self {
        Self {
            last: stamp,
            released: 0,
            forgotten: 0,
        }
    }

    pub(super) const fn touch(&mut self, stamp: Stamp) {
        self.last = stamp;
    }

    pub(super) const fn release(&mut self, stamp: Stamp) {
        self.released = stamp.order;
    }

    pub(super) const fn forget(&mut self, stamp: Stamp) {
        self.forgotten = stamp.order;
    }

    /// Returns true if a request accounts for the removal of the item.
    pub(super) const fn is_released(&self) -> bool {
        self.is_unused_since_release() || self.forgotten > self.last.order
    }

    pub(super) const fn is_after(&self, order: u64) -> bool {
        self.last.order > order
    }

    /// Returns true if a deletion or the move of a tag released the item after its last use.
    pub(super) const fn is_unused_since_release(&self) -> bool {
        self.released > self.last.order
    }

    /// Returns the time from the last use on.
    pub(super) fn age(&self, now: Stamp) -> Duration {
        now.at.saturating_duration_since(self.last.at)
    }

    pub(super) fn idle(&self, terms: &Terms, now: Stamp) -> Idle {
        if terms.released && self.is_unused_since_release() {
            return Idle::Yes;
        }
        let left = terms.grace.saturating_sub(self.age(now));
        if left.is_zero() { Idle::Yes } else { Idle::In(left) }
    }
}
