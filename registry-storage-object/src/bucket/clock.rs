//! [`Clock`]: the time of the store, from the dates of its answers.
//!
//! The nodes of a store have clocks of their own, which may differ by [`MARGIN`]. Between two answers, the local clock shows
//! the time that has passed. So a date that is far ahead of the others is not believed, and neither is one that is far
//! behind: a single wrong date changes nothing. If there are no others for a while, the store's clock was set, or this
//! machine was asleep: then they are believed.

use super::time::StoreTime;
use std::time::Duration;

/// Time by which the clocks of the store's nodes may differ.
pub(crate) const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Time for which all dates have to differ from those before until they are believed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of dates that have to agree.
const AGREEING: u32 = 3;

/// Time after which the difference of two clocks is measured anew.
const PERIOD: Duration = Duration::from_secs(30 * 60);

/// An answer of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) date: StoreTime,
    /// Local time at which it was asked for. All local times are since the same moment.
    pub(super) asked: Duration,
    /// Local time at which it was there.
    pub(super) came: Duration,
}

/// Verdict on the date of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Believed,
    /// It is this far ahead of the dates before, and was not believed.
    Ahead(Duration),
    /// It is this far behind the dates before, and was not believed.
    Behind(Duration),
}

/// The clocks of the store, as its answers tell them.
#[derive(Debug, Default)]
pub(super) struct Clock {
    latest: Option<StoreTime>,
    /// Bounds of this period.
    present: Option<Bounds>,
    /// Bounds of the period before.
    before: Option<Bounds>,
    /// Local time at which the present period began.
    began: Duration,
    /// Number of dates that were believed, up to some.
    agreeing: u32,
    /// Dates in a row that were not believed.
    strange: Option<Strange>,
}

/// Seconds by which the clocks of nodes are ahead of the local one.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// No less than that of the slowest node.
    slowest: i64,
    /// No more than that of the fastest node.
    fastest: i64,
}

#[derive(Clone, Copy, Debug)]
struct Strange {
    since: Duration,
    number: u32,
    /// True if they are ahead.
    ahead: bool,
}

impl Answer {
    /// Returns bounds of the clock of the node that has answered. It wrote the date between the two local times.
    fn bounds(&self) -> Bounds {
        let date = self.date.since(StoreTime::default());
        Bounds {
            slowest: seconds(date) - seconds(self.asked),
            fastest: seconds(date) - seconds(self.came),
        }
    }
}

impl Bounds {
    fn and(self, other: Self) -> Self {
        Self {
            slowest: self.slowest.min(other.slowest),
            fastest: self.fastest.max(other.fastest),
        }
    }
}

impl Clock {
    /// Returns the latest date that was believed.
    pub(super) const fn latest(&self) -> Option<StoreTime> {
        self.latest
    }

    /// Returns the time by which the clocks of two nodes differ, as far as their answers have shown it lately.
    pub(super) fn spread(&self) -> Duration {
        let spread = self.bounds().map_or(0, |bounds| bounds.fastest - bounds.slowest);
        Duration::from_secs(u64::try_from(spread).unwrap_or_default())
    }

    /// Notes an answer.
    pub(super) fn note(&mut self, answer: Answer) -> Verdict {
        let verdict = self.judge(&answer);
        let ahead = match verdict {
            Verdict::Believed => {
                self.believe(&answer);
                return verdict;
            }
            Verdict::Ahead(_) => true,
            Verdict::Behind(_) => false,
        };
        let strange = match self.strange {
            Some(strange) if strange.ahead == ahead => Strange {
                number: strange.number + 1,
                ..strange
            },
            _ => Strange {
                since: answer.came,
                number: 1,
                ahead,
            },
        };
        self.strange = Some(strange);
        // The first date of all may be the wrong one. The lower one of two is the safe one.
        let is_doubtful = self.agreeing < AGREEING && !ahead;
        let is_settled = strange.number >= AGREEING && answer.came.saturating_sub(strange.since) >= PATIENCE;
        if is_doubtful || is_settled {
            *self = Self::default();
            self.began = answer.came;
            self.believe(&answer);
        }
        verdict
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let Some(known) = self.bounds() else {
            return Verdict::Believed;
        };
        let (own, margin) = (answer.bounds(), seconds(MARGIN));
        let far = |seconds: i64| {
            let far = u64::try_from(seconds).ok().filter(|_| seconds > margin);
            far.map(Duration::from_secs)
        };
        let (ahead, behind) = (far(own.fastest - known.slowest), far(known.fastest - own.slowest));
        ahead
            .map(Verdict::Ahead)
            .or_else(|| behind.map(Verdict::Behind))
            .unwrap_or(Verdict::Believed)
    }

    fn believe(&mut self, answer: &Answer) {
        if answer.came.saturating_sub(self.began) >= PERIOD {
            self.before = self.present.take();
            self.began = answer.came;
        }
        let own = answer.bounds();
        self.present = Some(self.present.map_or(own, |known| known.and(own)));
        self.latest = self.latest.max(Some(answer.date));
        self.agreeing = (self.agreeing + 1).min(AGREEING);
        self.strange = None;
    }

    fn bounds(&self) -> Option<Bounds> {
        match (self.present, self.before) {
            (Some(present), Some(before)) => Some(present.and(before)),
            (one, other) => one.or(other),
        }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time of the store's clock, in seconds.
    const NOON: u64 = 1_800_000_000;

    /// Notes answers, each at a local time, and returns the latest date after each, since noon.
    fn latest(answers: &[(u64, u64)]) -> Vec<u64> {
        let mut clock = Clock::default();
        let noon = StoreTime::default().after(Duration::from_secs(NOON));
        let dates = answers.iter().map(|(local, date)| {
            clock.note(answer(*local, *date));
            clock.latest().unwrap().since(noon).as_secs()
        });
        dates.collect()
    }

    fn answer(local: u64, date: u64) -> Answer {
        let local = Duration::from_secs(local);
        Answer {
            date: StoreTime::default().after(Duration::from_secs(NOON + date)),
            asked: local,
            came: local,
        }
    }

    #[test]
    fn a_date_that_is_far_ahead_is_not_believed() {
        assert_eq!(
            latest(&[(0, 0), (1, 3601), (2, 2), (50, 3650), (51, 51)]),
            [0, 0, 2, 2, 51]
        );
        // The local clock shows how much time has passed.
        assert_eq!(latest(&[(0, 0), (3600, 3601)]), [0, 3601]);
        let mut clock = Clock::default();
        clock.note(answer(0, 0));
        assert_eq!(clock.note(answer(0, 299)), Verdict::Believed);
        assert_eq!(
            clock.note(answer(0, 3600)),
            Verdict::Ahead(Duration::from_secs(3600))
        );
        assert_eq!(
            clock.note(answer(4000, 0)),
            Verdict::Behind(Duration::from_secs(4299))
        );
    }

    #[test]
    fn a_date_that_is_far_behind_changes_nothing() {
        assert_eq!(
            latest(&[(3600, 3600), (3601, 3601), (3602, 3602), (3603, 3), (3604, 3604)]),
            [3600, 3601, 3602, 3602, 3604]
        );
    }

    #[test]
    fn a_first_date_that_is_wrong_does_not_stay() {
        assert_eq!(latest(&[(0, 3600), (1, 1), (2, 2), (3, 3)]), [3600, 1, 2, 3]);
    }

    #[test]
    fn a_clock_that_was_set_is_believed_after_a_while() {
        // The machine was asleep.
        let answers = [
            (0, 0),
            (1, 1),
            (2, 7202),
            (20, 7220),
            (31, 7231),
            (32, 7232),
            (33, 7233),
        ];
        assert_eq!(latest(&answers), [0, 1, 1, 1, 1, 7232, 7233]);
        // It was set back.
        let answers = [
            (7200, 7200),
            (7201, 7201),
            (7202, 7202),
            (7203, 3),
            (7204, 4),
            (7233, 33),
        ];
        assert_eq!(latest(&answers), [7200, 7201, 7202, 7202, 7202, 33]);
    }

    #[test]
    fn the_spread_is_that_of_the_nodes_and_not_of_slow_answers() {
        let mut clock = Clock::default();
        assert_eq!(clock.spread(), Duration::ZERO);
        clock.note(answer(10, 10));
        clock.note(Answer {
            asked: Duration::from_secs(10),
            ..answer(70, 65)
        });
        assert_eq!(
            clock.spread(),
            Duration::ZERO,
            "the date was written in that minute"
        );
        clock.note(answer(80, 200));
        assert_eq!(clock.spread(), Duration::from_secs(120));
        // Two periods later, it is forgotten.
        for local in [1890, 3700] {
            assert_eq!(clock.note(answer(local, local)), Verdict::Believed);
        }
        assert_eq!(clock.spread(), Duration::ZERO);
    }
}
