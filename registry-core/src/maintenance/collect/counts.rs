//! [`CollectCounts`]: what the collections of a process have removed and left, for metrics.

use super::report::{CollectReport, Removed};
use std::time::SystemTime;

/// Counts of the collections of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectCounts {
    /// Items that all collections have removed.
    pub removed: Removed,
    /// End of the last collection.
    pub ended: Option<SystemTime>,
    /// Items that nothing referred to at the last collection, and that are still there.
    pub due: DueItems,
    /// Items among them that the last collection would have removed, but only reported: a schedule does not remove from a
    /// storage that other programs may have written to, until somebody asks for a collection. Unchanged by a collection
    /// that was stopped.
    pub overdue: DueItems,
    /// Time from which on the first of them can be removed.
    pub oldest_due: Option<SystemTime>,
}

/// Items that nothing refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueItems {
    /// Number of items.
    pub items: u64,
    /// Number of bytes that only they keep.
    pub bytes: u64,
}

impl CollectCounts {
    /// Returns the counts after a collection that ended at a time.
    pub(super) fn after(self, report: &CollectReport, ended: SystemTime) -> Self {
        let mut counts = Self {
            ended: Some(ended),
            ..self
        };
        if !report.dry_run {
            counts.removed.add(&report.removed);
        }
        if report.stopped.is_some() {
            // The report may lack what was not looked at.
            counts.oldest_due = Some(self.oldest_due.map_or(ended, |oldest| oldest.min(ended)));
            return counts;
        }
        counts.overdue = match report.dry_run {
            true => report.removed.due(),
            false => DueItems::default(),
        };
        let later = &report.later;
        counts.due = DueItems {
            items: counts.overdue.items + later.items,
            bytes: counts.overdue.bytes + later.bytes,
        };
        let first = later.first.and_then(|first| ended.checked_add(first));
        counts.oldest_due = match counts.overdue.items {
            0 => first,
            // It stays due since it was first seen.
            _ => Some(self.oldest_due.map_or(ended, |oldest| oldest.min(ended))),
        };
        counts
    }
}

impl Removed {
    /// Returns the number of items of all kinds.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.manifests + self.links + self.data + self.repositories
    }

    const fn due(&self) -> DueItems {
        DueItems {
            items: self.items(),
            bytes: self.bytes,
        }
    }

    const fn add(&mut self, other: &Self) {
        self.manifests += other.manifests;
        self.links += other.links;
        self.data += other.data;
        self.repositories += other.repositories;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::collect::report::{Later, Stopped};
    use std::time::Duration;

    const START: SystemTime = SystemTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn report(removed: u64, dry_run: bool) -> CollectReport {
        CollectReport {
            dry_run,
            removed: Removed {
                links: removed,
                bytes: 10 * removed,
                ..Removed::default()
            },
            ..CollectReport::default()
        }
    }

    #[test]
    fn removals_add_up_and_what_waits_is_due_when_its_time_has_passed() {
        let later = Later {
            items: 2,
            bytes: 20,
            first: Some(HOUR),
            last: Some(2 * HOUR),
        };
        let waiting = CollectReport {
            later,
            ..report(1, false)
        };

        let counts = CollectCounts::default().after(&report(3, false), START);
        let counts = counts.after(&waiting, START);

        assert_eq!((counts.removed.links, counts.removed.bytes), (4, 40));
        assert_eq!(
            (counts.due, counts.overdue.items),
            (DueItems { items: 2, bytes: 20 }, 0)
        );
        assert_eq!(
            (counts.oldest_due, counts.ended),
            (Some(START + HOUR), Some(START))
        );
    }

    #[test]
    fn items_that_may_not_be_removed_are_overdue_since_they_were_first_seen() {
        let counts = CollectCounts::default().after(&report(3, true), START);
        let counts = counts.after(&report(4, true), START + HOUR);

        assert_eq!(counts.removed, Removed::default());
        assert_eq!(counts.due, counts.overdue);
        assert_eq!(counts.overdue, DueItems { items: 4, bytes: 40 });
        assert_eq!(counts.oldest_due, Some(START));

        let counts = counts.after(&report(4, false), START + HOUR);
        assert_eq!((counts.due.items, counts.oldest_due), (0, None));
    }

    #[test]
    fn a_collection_that_was_stopped_leaves_something_due() {
        let stopped = CollectReport {
            stopped: Some(Stopped::TooMuch { bytes: 2, of: 3 }),
            ..report(0, false)
        };
        let counts = CollectCounts::default().after(&stopped, START);
        assert_eq!(counts.oldest_due, Some(START));
    }
}
