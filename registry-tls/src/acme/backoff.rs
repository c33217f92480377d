//! Times of renewals and retries. Plain arithmetic: time and chance are arguments.

use crate::certificate::Validity;
use std::time::{Duration, SystemTime};

/// Longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// Longest pause after transient failures.
const LONGEST_TRANSIENT: Duration = Duration::from_secs(15 * 60);

/// First pause after a transient failure.
const FIRST_TRANSIENT: Duration = Duration::from_secs(1);

/// Returns the time of renewal: after two thirds of the lifetime, or up to a twentieth of it earlier by `chance` (0 to
/// 1). Thus a thousand servers that started together do not order together.
pub(super) fn renew_at(validity: Validity, chance: f64) -> SystemTime {
    let lifetime = validity.until.duration_since(validity.from).unwrap_or_default();
    validity.from + lifetime.mul_f64(2.0 / 3.0) - lifetime.mul_f64(chance.clamp(0.0, 1.0) / 20.0)
}

/// Returns the pause after the `failures`-th failure in a row, the first being 1.
///
/// A `transient` failure goes away by itself. Other failures need an operator, and count against an authority's limits.
pub(super) fn pause(failures: u32, transient: bool, first: Duration, chance: f64) -> Duration {
    let (first, longest) = match transient {
        true => (FIRST_TRANSIENT.min(first), LONGEST_TRANSIENT),
        false => (first, LONGEST),
    };
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let pause = doubled.min(longest);
    pause + pause.mul_f64(chance.clamp(0.0, 1.0) / 10.0)
}

/// Returns a number between 0 and 1, random enough to spread work.
pub(super) fn chance() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let bits = RandomState::new().hash_one(0_u8) >> 40;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn renewal_comes_at_two_thirds_of_the_life_or_a_little_earlier() {
        let from = SystemTime::UNIX_EPOCH + seconds(1000);
        let validity = Validity {
            from,
            until: from + seconds(60),
        };

        assert_eq!(renew_at(validity, 0.0), from + seconds(40));
        assert_eq!(renew_at(validity, 1.0), from + seconds(37));
    }

    #[test]
    fn pauses_double_up_to_half_a_day() {
        let pause = |failures| pause(failures, false, seconds(120), 0.0);

        assert_eq!(pause(1), seconds(120));
        assert_eq!(pause(2), seconds(240));
        assert_eq!(pause(5), seconds(1920));
        assert_eq!(pause(50), LONGEST);
    }

    #[test]
    fn what_goes_away_by_itself_is_tried_again_soon() {
        let pause = |failures| pause(failures, true, seconds(120), 0.0);

        assert_eq!(pause(1), seconds(1));
        assert_eq!(pause(4), seconds(8));
        assert_eq!(pause(40), LONGEST_TRANSIENT);
    }

    #[test]
    fn five_failures_do_not_fit_into_an_hour_twice() {
        let hour = (1..=6)
            .map(|failures| pause(failures, false, seconds(120), 0.0))
            .sum::<Duration>();

        assert!(hour > seconds(3600), "{hour:?}");
    }

    #[test]
    fn chance_is_between_nothing_and_one() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&chance()));
        }
    }
}
