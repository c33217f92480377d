//! [`Window`]: a part of each day.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY: u64 = 24 * 60 * 60;

/// Part of each day, in UTC, such as `01:00-05:00`. It may pass midnight.
///
/// ```
/// use registry_core::maintenance::Window;
/// use std::time::{Duration, SystemTime};
///
/// let night: Window = "23:00-05:30".parse()?;
/// let hour = |hour: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hour * 60 * 60);
/// assert_eq!(night.until_open(hour(20)), Duration::from_secs(3 * 60 * 60));
/// assert_eq!(night.until_open(hour(2)), Duration::ZERO);
/// # Ok::<(), registry_core::maintenance::InvalidWindow>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Seconds since midnight.
    from: u64,
    /// Seconds since midnight, exclusive.
    to: u64,
}

/// A text that is not a part of a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part of a day; write two different times of day in UTC, such as `01:00-05:00`")]
pub struct InvalidWindow(String);

impl Window {
    /// Returns the time until it is open; zero if it is.
    #[must_use]
    pub fn until_open(self, now: SystemTime) -> Duration {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % DAY;
        let length = (self.to + DAY - self.from) % DAY;
        let since_opening = (now + DAY - self.from) % DAY;
        if since_opening < length {
            Duration::ZERO
        } else {
            Duration::from_secs(DAY - since_opening)
        }
    }

    pub(super) fn is_open(self, now: SystemTime) -> bool {
        self.until_open(now).is_zero()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: u64| (seconds / 3600, seconds / 60 % 60);
        let ((from_hour, from_minute), (to_hour, to_minute)) = (time(self.from), time(self.to));
        write!(f, "{from_hour:02}:{from_minute:02}-{to_hour:02}:{to_minute:02}")
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let parsed = text.split_once('-').and_then(|(from, to)| {
            let (from, to) = (seconds(from)?, seconds(to)?);
            (from != to).then_some(Self { from, to })
        });
        parsed.ok_or_else(|| InvalidWindow(text.chars().take(64).collect()))
    }
}

/// Reads a time of day as seconds since midnight.
fn seconds(text: &str) -> Option<u64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str| -> Option<u64> {
        let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64, minute: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(20_000 * DAY + hour * 3600 + minute * 60)
    }

    #[test]
    fn a_window_opens_and_closes_each_day() {
        for (text, opens, open, closed) in [
            ("01:00-05:00", at(1, 0), at(4, 59), at(5, 0)),
            ("23:30-00:15", at(23, 30), at(0, 14), at(0, 15)),
            ("0:00-23:59", at(0, 0), at(12, 0), at(23, 59)),
        ] {
            let window: Window = text.parse().unwrap();
            assert!(window.is_open(opens) && window.is_open(open), "{text}");
            assert!(!window.is_open(opens - Duration::from_secs(1)), "{text}");
            assert!(!window.is_open(closed), "{text}");
            let wait = window.until_open(closed);
            assert!(wait > Duration::ZERO && window.is_open(closed + wait), "{text}");
            assert!(!window.is_open(closed + wait - Duration::from_secs(1)), "{text}");
        }
    }

    #[test]
    fn a_window_is_printed_as_it_is_read() {
        let window: Window = "1:05-23:00".parse().unwrap();
        assert_eq!(window.to_string(), "01:05-23:00");
        assert_eq!(window.to_string().parse(), Ok(window));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "01:00",
            "01:00-01:00",
            "24:00-01:00",
            "01:60-02:00",
            "1-5",
            "+1:00-2:00",
            "001:00-2:00",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
