//! [`Suspect`]: an item that a request has released, and the list of these that a storage keeps in memory.

use super::victim::Victim;
use std::collections::VecDeque;

/// Maximum number of suspects in a list. Those that are dropped are found by the next complete run.
const MOST: usize = 65_536;

/// Item that a request has released, so that nothing may refer to it or to what it named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suspect {
    /// Number of the suspect, which is larger than that of each earlier one.
    pub number: u64,
    /// The item. It may be gone.
    pub victim: Victim,
    /// Cause for which it is a suspect.
    pub cause: SuspectCause,
}

/// Cause for which an item is a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuspectCause {
    /// A tag has left it, or it was deleted without a record.
    Released,
    /// It was deleted. The record of the deletion keeps what it named.
    Recorded,
    /// The record of its deletion, or of that of its tag, was forgotten.
    Forgotten,
}

impl Suspect {
    /// Describes an item that a request has released.
    #[must_use]
    pub const fn new(number: u64, victim: Victim, cause: SuspectCause) -> Self {
        Self {
            number,
            victim,
            cause,
        }
    }
}

/// The latest suspects of a storage, at most 65,536, for [`StorageCollect::suspects`](super::StorageCollect::suspects).
///
/// ```
/// use registry_core::{Algorithm, Digest, storage::{SuspectCause, SuspectList, Victim}};
///
/// let mut suspects = SuspectList::default();
/// suspects.add(Victim::Data(Digest::of(Algorithm::Sha256, b"one")), SuspectCause::Released);
/// suspects.add(Victim::Data(Digest::of(Algorithm::Sha256, b"two")), SuspectCause::Released);
///
/// let first = suspects.after(0, 1);
/// let others = suspects.after(first[0].number, 10);
/// assert_eq!((first.len(), others.len()), (1, 1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SuspectList {
    items: VecDeque<Suspect>,
    /// Number of the last suspect.
    last: u64,
}

impl SuspectList {
    /// Adds an item, and drops the oldest one if there are too many.
    pub fn add(&mut self, victim: Victim, cause: SuspectCause) {
        self.last += 1;
        if self.items.len() >= MOST {
            self.items.pop_front();
        }
        self.items.push_back(Suspect::new(self.last, victim, cause));
    }

    /// Drops the suspects up to a number, and returns the next ones, at most `limit`.
    pub fn after(&mut self, number: u64, limit: usize) -> Vec<Suspect> {
        while self.items.pop_front_if(|first| first.number <= number).is_some() {}
        self.items.iter().take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Digest};

    #[test]
    fn the_oldest_suspects_are_dropped_if_there_are_too_many() {
        let mut list = SuspectList::default();
        let victim = Victim::Data(Digest::of(Algorithm::Sha256, b""));
        for _ in 0..MOST + 2 {
            list.add(victim.clone(), SuspectCause::Released);
        }

        let numbers = |list: &mut SuspectList, after| {
            let found = list.after(after, 2);
            found.iter().map(|suspect| suspect.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&mut list, 0), [3, 4]);
        assert_eq!(numbers(&mut list, 4), [5, 6]);
        assert_eq!(numbers(&mut list, 4), [5, 6], "the same again");
    }
}
