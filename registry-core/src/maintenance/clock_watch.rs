//! [`ClockWatch`]: decides if the wall clock can be trusted for ages.
//!
//! Work that removes content by its age removes too much if the clock is wrong. A wrong clock shows in two ways: the
//! wall clock and the time since the boot advance differently, or a long time passes by the wall clock while nothing
//! runs. In the second case the time may be right. Then clients had no chance to renew their content meanwhile.

use super::clock::Clock;
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// Maximum difference between the advances of both clocks.
const DRIFT: Duration = Duration::from_secs(60 * 60);
/// Maximum time between two runs of the process that is no long absence.
const ABSENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Time after a long absence for which ages do not count.
const HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Both times at one moment.
#[derive(Clone, Copy, Debug)]
struct Times {
    wall: SystemTime,
    /// Time since the boot of the machine.
    boot: Duration,
}

/// Watches the clock of a host from the start of the process on.
///
/// Ages do not count
///
/// - while the wall clock has advanced more than an hour less or more than the time since the boot,
/// - for 24 hours after the process was absent for more than 24 hours, or for an unknown time, by the wall clock,
/// - if the host does not know the time since the boot.
///
/// ```
/// use registry_core::maintenance::{Clock, ClockWatch, Distrust};
/// use std::time::{Duration, SystemTime};
///
/// struct Fixed(SystemTime, Duration);
///
/// #[async_trait::async_trait]
/// impl Clock for Fixed {
///     fn now(&self) -> SystemTime {
///         self.0
///     }
///
///     fn since_boot(&self) -> Option<Duration> {
///         Some(self.1)
///     }
///
///     async fn sleep(&self, _: Duration) {}
/// }
///
/// let hour = Duration::from_secs(60 * 60);
/// let start = SystemTime::UNIX_EPOCH + 1_000_000 * hour;
/// let watch = ClockWatch::start(&Fixed(start, hour), Some(start - hour));
///
/// assert_eq!(watch.now(&Fixed(start + 5 * hour, 6 * hour)), Ok(start + 5 * hour));
/// assert_eq!(watch.now(&Fixed(start + 50 * hour, 6 * hour)), Err(Distrust::Jumped));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    start: Option<Times>,
    /// Time since the boot until which ages do not count.
    hold: Option<Duration>,
}

/// Note of an earlier process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// Last time at which it trusted its clock.
    pub(super) seen: Option<SystemTime>,
    /// Last time at which it waited after an absence, and the part of the 24 hours that had passed.
    pub(super) waiting: Option<(SystemTime, Duration)>,
}

/// Reason for which ages do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// The wall clock was set, or stood still, since the start.
    Jumped,
    /// The process was absent for a long or unknown time.
    Absent,
    /// The host does not know the time since the boot.
    NoBootTime,
}

impl ClockWatch {
    /// Begins to watch, at the start of the process. `seen` is the last time at which an earlier process trusted its
    /// clock; the host stores it.
    #[must_use]
    pub fn start(clock: &dyn Clock, seen: Option<SystemTime>) -> Self {
        Self::resume(clock, Last { seen, waiting: None })
    }

    /// Begins to watch with the note of an earlier process.
    pub(super) fn resume(clock: &dyn Clock, last: Last) -> Self {
        let start = Times::of(clock);
        let Last { seen, waiting } = last;
        let is_recent = |start: &Times, time: SystemTime| difference(start.wall, time) <= ABSENCE;
        let hold = start
            .as_ref()
            .filter(|start| !seen.is_some_and(|seen| is_recent(start, seen)))
            .map(|start| {
                let waited = waiting.filter(|(at, _)| is_recent(start, *at));
                let waited = waited.map_or(Duration::ZERO, |(_, waited)| waited);
                start.boot + HOLD.saturating_sub(waited)
            });
        Self { start, hold }
    }

    /// Returns the part of the 24 hours after an absence that has passed, at most all of it. `None` without an absence.
    pub(super) fn waited(&self, clock: &dyn Clock) -> Option<Duration> {
        let left = self.hold?.saturating_sub(clock.since_boot()?);
        Some(HOLD.saturating_sub(left))
    }

    /// Returns the current time, if ages may be computed with it.
    ///
    /// # Errors
    ///
    /// [`Distrust`] if they may not.
    pub fn now(&self, clock: &dyn Clock) -> Result<SystemTime, Distrust> {
        let (Some(start), Some(now)) = (&self.start, Times::of(clock)) else {
            return Err(Distrust::NoBootTime);
        };
        let expected = start.wall.checked_add(now.boot.saturating_sub(start.boot));
        if expected.is_none_or(|expected| difference(expected, now.wall) > DRIFT) {
            return Err(Distrust::Jumped);
        }
        if self.hold.is_some_and(|hold| now.boot < hold) {
            return Err(Distrust::Absent);
        }
        Ok(now.wall)
    }
}

impl Times {
    fn of(clock: &dyn Clock) -> Option<Self> {
        Some(Self {
            wall: clock.now(),
            boot: clock.since_boot()?,
        })
    }
}

fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jumped => {
                "the wall clock and the time since the boot differ by more than an hour; restart the server once the clock is right"
            }
            Self::Absent => "no server ran for more than a day, or none has run yet; ages count once a server has run for 24 hours",
            Self::NoBootTime => "the time since the boot is not known",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    struct At(SystemTime, Option<Duration>);

    #[async_trait]
    impl Clock for At {
        fn now(&self) -> SystemTime {
            self.0
        }

        fn since_boot(&self) -> Option<Duration> {
            self.1
        }

        async fn sleep(&self, _: Duration) {}
    }

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 50 * YEAR
    }

    /// Starts an hour after the boot, with the last stamp `ago`, and asks when both clocks have advanced.
    fn asked(ago: Option<Duration>, wall: SystemTime, boot: Duration) -> Result<SystemTime, Distrust> {
        let watch = ClockWatch::start(&At(start(), Some(HOUR)), ago.map(|ago| start() - ago));
        watch.now(&At(wall, Some(HOUR + boot)))
    }

    #[test]
    fn a_clock_that_advances_with_the_time_since_the_boot_is_trusted() {
        let later = start() + 1000 * HOUR;
        assert_eq!(asked(Some(HOUR), later, 1000 * HOUR), Ok(later));
        assert!(asked(Some(HOUR), later + HOUR, 1000 * HOUR).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_by_more_than_an_hour_is_not_trusted_until_it_is_set_back() {
        for wall in [
            start() + 10 * YEAR,
            start() - 10 * YEAR,
            start() + 2 * HOUR + Duration::from_secs(1),
        ] {
            assert_eq!(asked(Some(HOUR), wall, HOUR), Err(Distrust::Jumped));
        }
        assert!(asked(Some(HOUR), start() + 2 * HOUR, 2 * HOUR).is_ok());
    }

    #[test]
    fn after_a_long_or_unknown_absence_a_day_has_to_pass() {
        for ago in [None, Some(25 * HOUR), Some(10 * YEAR)] {
            assert_eq!(asked(ago, start() + 23 * HOUR, 23 * HOUR), Err(Distrust::Absent));
            assert!(asked(ago, start() + 24 * HOUR, 24 * HOUR).is_ok());
        }
        assert!(asked(Some(24 * HOUR), start(), Duration::ZERO).is_ok());
    }

    #[test]
    fn a_process_waits_for_what_is_left_of_the_day() {
        let left = |ago: Duration, waited: Duration| {
            let waiting = Some((start() - ago, waited));
            let last = Last { seen: None, waiting };
            let watch = ClockWatch::resume(&At(start(), Some(HOUR)), last);
            (0..=24_u32).find(|hours| {
                let passed = HOUR * *hours;
                watch.now(&At(start() + passed, Some(HOUR + passed))).is_ok()
            })
        };

        assert_eq!(left(HOUR, 20 * HOUR), Some(4));
        assert_eq!(left(24 * HOUR, 30 * HOUR), Some(0));
        // Absent for too long again.
        assert_eq!(left(25 * HOUR, 20 * HOUR), Some(24));
    }

    #[test]
    fn a_clock_that_went_back_between_two_processes_is_an_absence() {
        let watch = ClockWatch::start(&At(start(), Some(HOUR)), Some(start() + 10 * YEAR));
        assert_eq!(watch.now(&At(start(), Some(HOUR))), Err(Distrust::Absent));
    }

    #[test]
    fn without_the_time_since_the_boot_no_clock_is_trusted() {
        let watch = ClockWatch::start(&At(start(), None), Some(start()));
        assert_eq!(watch.now(&At(start(), Some(HOUR))), Err(Distrust::NoBootTime));
    }
}
