//! [`Touches`]: when content was last promised to a pusher, and when a deletion last released it.
//!
//! Touches only keep content. What is not known is taken for touched: a filter may contain keys that were never
//! inserted, and whatever was touched before the opening counts as touched then. A release that is not known only
//! delays a removal.

use super::{bloom::Bloom, spans::Spans};
use crate::digest_locks::Key;
use registry_core::storage::Terms;
use std::{collections::HashMap, mem, time::Duration};

/// Number of keys per generation: as many as a hash table of 2^19 places holds. Two generations are exact, at 16 bytes
/// a place.
const EXACT: usize = (1 << 19) / 8 * 7;
/// Number of keys after which a filter is full: fewer than 1 in 400 other keys seem to be in it.
const FILTERED: usize = 4 << 20;
/// Maximum number of remembered releases.
const RELEASES: usize = EXACT;
/// Minimum age of the touches that are dropped with a filter.
const MIN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Touches and releases, each with a number that grows. Times are since the opening of the storage.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    /// Number of the last touch or release.
    last: u64,
    times: Spans,
    /// Numbers of the latest touches, in two generations. When the young one is full it becomes the old one, which
    /// moves to a filter.
    young: HashMap<Key, u64>,
    old: HashMap<Key, u64>,
    /// Filters of earlier touches. When the young one is full and the old one is old enough, that is dropped.
    young_filter: Filter,
    old_filter: Filter,
    releases: HashMap<Key, u64>,
    /// Longest grace period of a run, if it is longer than [`MIN_AGE`].
    grace: Duration,
    /// True while a run is open.
    is_open: bool,
}

/// Keys, all of which count as touched with the last of them.
#[derive(Debug, Default)]
struct Filter {
    keys: Bloom,
    count: usize,
    last: u64,
}

/// State of an item for a run, as far as touches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It may be removed.
    Yes,
    /// It was touched since the run began.
    No,
    /// It may be removed after this time.
    In(Duration),
}

impl Touches {
    /// Records that content was promised to a pusher. The caller holds its lock.
    pub(crate) fn touch(&mut self, keys: impl IntoIterator<Item = Key>, now: Duration) {
        let number = self.next(now);
        for key in keys {
            self.young.insert(key, number);
            if self.young.len() >= EXACT {
                self.age(now);
            }
        }
    }

    /// Returns the number of a release that happens now.
    pub(crate) fn release_now(&mut self, now: Duration) -> u64 {
        self.next(now)
    }

    /// Records that a deletion, or a tag that moved, released content. Whatever was touched before is idle for runs
    /// that ask for that.
    pub(crate) fn released(&mut self, keys: impl IntoIterator<Item = Key>, number: u64) {
        for key in keys {
            if self.releases.len() >= RELEASES {
                self.releases.clear();
            }
            let latest = self.releases.entry(key).or_default();
            *latest = number.max(*latest);
        }
    }

    /// Begins a run: returns the number of the last touch before it.
    pub(crate) fn begin(&mut self, grace: Duration) -> u64 {
        self.is_open = true;
        self.grace = self.grace.max(grace);
        self.last
    }

    pub(crate) fn end(&mut self) {
        self.is_open = false;
    }

    /// Tells if content is idle for a run that began after `began`; `None` for one that begins now.
    pub(crate) fn is_idle(&self, key: Key, terms: &Terms, began: Option<u64>, now: Duration) -> Idle {
        let touched = self.touched(key);
        if began.is_some_and(|began| touched > began) {
            return Idle::No;
        }
        if terms.grace.is_zero() || terms.released && self.is_released(key) {
            return Idle::Yes;
        }
        let age = now.saturating_sub(self.times.time(touched));
        match terms.grace.checked_sub(age) {
            None | Some(Duration::ZERO) => Idle::Yes,
            Some(rest) => Idle::In(rest),
        }
    }

    /// Returns the time for which content stays because a client may be pushing the manifest that names it: the last
    /// push to its repository was less than `window` ago, the content was touched less than a day ago, and no deletion has
    /// released all of the keys since. Pushes before the opening do not count.
    pub(crate) fn pushing(
        &self,
        repository: Key,
        keys: &[Key],
        window: Duration,
        now: Duration,
    ) -> Option<Duration> {
        let pushed = self.touched(repository);
        let age = now.saturating_sub(self.times.time(pushed));
        let rest = window.checked_sub(age).filter(|rest| !rest.is_zero())?;
        let is_released = keys.iter().all(|key| self.is_released(*key));
        let last = keys.iter().map(|key| self.touched(*key)).max()?;
        let is_recent = now.saturating_sub(self.times.time(last)) < Terms::LONGEST_PUSH;
        (pushed > 0 && is_recent && !is_released).then_some(rest)
    }

    /// Returns true if a deletion released a key after its last touch.
    pub(crate) fn is_released(&self, key: Key) -> bool {
        let released = self.releases.get(&key);
        released.is_some_and(|released| *released > self.touched(key))
    }

    /// Returns true if content was not touched since the touch or release of a number, or since the opening for 0.
    pub(crate) fn is_untouched(&self, key: Key, since: u64) -> bool {
        self.touched(key) <= since
    }

    /// Returns the number of the last touch of a key, or a later one.
    fn touched(&self, key: Key) -> u64 {
        let exact = self.young.get(&key).or_else(|| self.old.get(&key));
        exact.copied().unwrap_or_else(|| {
            let filters = [&self.young_filter, &self.old_filter].into_iter();
            let mut found = filters.filter(|filter| filter.keys.contains(key));
            found.next().map_or(0, |filter| filter.last)
        })
    }

    fn next(&mut self, now: Duration) -> u64 {
        self.last += 1;
        self.times.record(self.last, now);
        self.last
    }

    /// Moves the old generation to the filters.
    fn age(&mut self, now: Duration) {
        let oldest = mem::replace(&mut self.old, mem::take(&mut self.young));
        if self.young_filter.count >= FILTERED && self.may_drop_filter(now) {
            self.old_filter = mem::take(&mut self.young_filter);
        }
        for (key, number) in oldest {
            self.young_filter.keys.insert(key);
            self.young_filter.count += 1;
            self.young_filter.last = self.young_filter.last.max(number);
        }
    }

    /// Returns true if no run can ask for what is in the old filter: it then counts as touched at the opening.
    fn may_drop_filter(&self, now: Duration) -> bool {
        let age = now.saturating_sub(self.times.time(self.old_filter.last));
        self.old_filter.count == 0 || !self.is_open && age >= self.grace.max(MIN_AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const NOW: Duration = Duration::ZERO;

    fn key(number: u64) -> Key {
        // Odd and large, so that the keys differ in all bits.
        Key::of(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn grace(grace: Duration) -> Terms {
        Terms::new().with_grace(grace)
    }

    #[test]
    fn what_is_touched_after_a_run_has_begun_is_in_use_for_it() {
        let mut touches = Touches::default();
        touches.touch([key(1)], NOW);
        let began = touches.begin(NOW);
        touches.touch([key(2)], NOW);

        let is_idle = |number| touches.is_idle(key(number), &grace(NOW), Some(began), NOW);
        assert_eq!([1, 2, 3].map(is_idle), [Idle::Yes, Idle::No, Idle::Yes]);
        // For a run that begins later, neither is.
        assert_eq!(touches.is_idle(key(2), &grace(NOW), None, NOW), Idle::Yes);
    }

    #[test]
    fn what_was_touched_recently_or_before_the_opening_is_due_after_the_grace_period() {
        let mut touches = Touches::default();
        touches.touch([key(1)], 3 * HOUR);
        let second = Duration::from_secs(1);
        for (number, now, expected) in [
            (1, 4 * HOUR, Idle::In(HOUR + second)),
            (1, 5 * HOUR, Idle::In(second)),
            (1, 5 * HOUR + second, Idle::Yes),
            (2, HOUR, Idle::In(HOUR)),
            (2, 2 * HOUR, Idle::Yes),
        ] {
            let found = touches.is_idle(key(number), &grace(2 * HOUR), None, now);
            assert_eq!(found, expected, "{number} at {now:?}");
        }
    }

    #[test]
    fn a_release_counts_for_whoever_asks_until_the_next_touch() {
        let mut touches = Touches::default();
        let explicit = grace(HOUR).with_released(true);
        let is_idle =
            |touches: &Touches, terms: &Terms| touches.is_idle(key(1), terms, None, NOW) == Idle::Yes;
        touches.touch([key(1)], NOW);
        let released = touches.release_now(NOW);
        assert!(!is_idle(&touches, &explicit));

        touches.released([key(1)], released);
        assert!(is_idle(&touches, &explicit) && !is_idle(&touches, &grace(HOUR)));

        touches.touch([key(1)], NOW);
        // An earlier one that becomes known later changes nothing.
        touches.released([key(1)], released);
        assert!(!is_idle(&touches, &explicit));
        let again = touches.release_now(NOW);
        touches.released([key(1)], again);
        assert!(is_idle(&touches, &explicit));

        let began = touches.begin(NOW);
        touches.touch([key(1)], NOW);
        let again = touches.release_now(NOW);
        touches.released([key(1)], again);
        assert_eq!(touches.is_idle(key(1), &explicit, Some(began), NOW), Idle::No);
    }

    /// A repository that is pushed to all the time would keep every link for ever.
    #[test]
    fn a_push_takes_a_day_at_most() {
        let (pushed, link) = (key(1), key(2));
        let mut touches = Touches::default();
        touches.touch([link], HOUR);
        let second = Duration::from_secs(1);
        for (now, expected) in [
            (2 * HOUR, Some(HOUR)),
            (25 * HOUR, Some(HOUR)),
            (25 * HOUR + second, None),
        ] {
            touches.touch([pushed], now);
            assert_eq!(touches.pushing(pushed, &[link], HOUR, now), expected, "{now:?}");
        }
        touches.touch([link], 26 * HOUR);
        assert!(touches.pushing(pushed, &[link], HOUR, 26 * HOUR).is_some());
    }

    #[test]
    fn no_touch_is_lost_however_many_follow() {
        let mut touches = Touches::default();
        let terms = grace(HOUR);
        touches.touch((0..100).map(key), 2 * HOUR);
        let later = 3 * HOUR;
        touches.touch((100..2 * EXACT as u64 + 200).map(key), later);

        // The first ones are in a filter now, and count as touched with the last of it.
        assert!(touches.young.len() + touches.old.len() <= 2 * EXACT);
        assert!(!touches.old.contains_key(&key(0)) && touches.young_filter.count == EXACT);
        let second = Duration::from_secs(1);
        assert_eq!(
            touches.is_idle(key(0), &terms, None, later + HOUR),
            Idle::In(second)
        );
        let began = touches.begin(HOUR);
        assert_eq!(
            touches.is_idle(key(0), &terms, Some(began), later + HOUR + second),
            Idle::Yes
        );
        assert_eq!(touches.is_idle(key(0), &terms, Some(0), later), Idle::No);
    }

    #[test]
    fn a_filter_is_dropped_when_it_is_old_and_no_run_is_open() {
        let day = 24 * HOUR;
        let mut touches = Touches::default();
        let fill = |touches: &mut Touches, from: u64, now| {
            if touches.young_filter.count > 0 {
                touches.young_filter.count = FILTERED;
            }
            touches.touch((from..from + EXACT as u64).map(key), now);
        };
        for generation in 0..3 {
            fill(&mut touches, generation * EXACT as u64, HOUR);
        }
        assert!(touches.old_filter.count > 0 && touches.old_filter.keys.contains(key(0)));

        let kept = |touches: &Touches| touches.old_filter.keys.contains(key(0));
        fill(&mut touches, 3 * EXACT as u64, day);
        assert!(kept(&touches), "it is too young");
        touches.begin(NOW);
        fill(&mut touches, 4 * EXACT as u64, 2 * day);
        assert!(kept(&touches), "a run is open");
        touches.end();
        touches.begin(7 * day);
        touches.end();
        fill(&mut touches, 5 * EXACT as u64, 3 * day);
        assert!(kept(&touches), "a run may ask for a week");
        fill(&mut touches, 6 * EXACT as u64, 9 * day);
        assert!(!kept(&touches));
    }
}
