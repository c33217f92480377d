//! [`Spans`]: the times of sequence numbers, in bounded memory.

use std::{collections::VecDeque, time::Duration};

/// Length of a span.
const LENGTH: Duration = Duration::from_secs(1);
/// Maximum number of spans. Beyond it, older ones are joined.
const MOST: usize = 16_384;

/// Sequence numbers that were given between two times. Times are since the opening of the storage.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    /// A time after its last number was given.
    until: Duration,
}

/// Spans in order.
#[derive(Debug, Default)]
pub(crate) struct Spans(VecDeque<Span>);

impl Spans {
    /// Records that a number is given now. Numbers and times never decrease.
    pub(crate) fn record(&mut self, number: u64, now: Duration) {
        if self.0.back().is_some_and(|last| now < last.until) {
            return;
        }
        if self.0.len() >= MOST {
            self.join_older();
        }
        self.0.push_back(Span {
            first: number,
            until: now + LENGTH,
        });
    }

    /// Returns a time at which a number had been given. A number from before all spans is of the opening.
    pub(crate) fn time(&self, number: u64) -> Duration {
        let next = self.0.partition_point(|span| span.first <= number);
        let span = next.checked_sub(1).and_then(|place| self.0.get(place));
        span.map_or(Duration::ZERO, |span| span.until)
    }

    /// Joins each two of the older half. The joined span ends with the later one, so that nothing seems older than it
    /// is.
    fn join_older(&mut self) {
        let newer = self.0.split_off(self.0.len() / 2);
        let older = std::mem::take(&mut self.0);
        let mut older = older.into_iter();
        while let Some(span) = older.next() {
            let until = older.next().map_or(span.until, |later| later.until);
            self.0.push_back(Span { until, ..span });
        }
        self.0.extend(newer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_number_is_at_most_a_second_older_than_it_seems() {
        let mut spans = Spans::default();
        for (number, millis) in [(1, 0), (2, 900), (3, 1500), (4, 90_000)] {
            spans.record(number, Duration::from_millis(millis));
        }
        for (number, expected) in [(0, 0), (1, 1000), (2, 1000), (3, 2500), (4, 91_000), (9, 91_000)] {
            assert_eq!(spans.time(number), Duration::from_millis(expected), "{number}");
        }
    }

    #[test]
    fn nothing_seems_older_than_it_is_however_many_there_are() {
        let mut spans = Spans::default();
        let count = 5 * MOST as u64;
        for number in 0..count {
            spans.record(number, secs(10 * number));
            assert!(spans.0.len() <= MOST);
        }
        for number in 0..count {
            assert!(spans.time(number) > secs(10 * number), "{number}");
        }
        assert_eq!(spans.time(count - 1), secs(10 * (count - 1) + 1));
    }
}
