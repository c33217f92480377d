//! The only time format of the layout: RFC 3339 in UTC with whole seconds, `2026-11-21T01:26:40Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

/// Formats a time in 20 bytes; a time outside the years 1970 to 9999 becomes the nearest of them.
pub(crate) fn format(time: SystemTime) -> String {
    let last = 253_402_300_799;
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        .min(last);
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads exactly that format.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse().ok()
    };
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let seconds = days * DAY + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    // A 31st of February, an offset or a fraction is formatted differently, and is not in the format.
    (format(time) == text).then_some(time)
}

/// Converts days since 1970-01-01 to year, month and day of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Converts a date to days since 1970-01-01; `None` before 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, march_month) = match month {
        1 | 2 => (year.checked_sub(1)?, month + 9),
        3..=12 => (year, month - 3),
        _ => return None,
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_print_as_go_prints_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(format(at(seconds)), text);
            assert_eq!(parse(text), Some(at(seconds)));
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..60_000 {
            let time = at(day * DAY + day % DAY);
            assert_eq!(parse(&format(time)), Some(time));
        }
    }

    #[test]
    fn everything_else_is_not_a_time() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T01:26:40+00:00",
            "2026-11-21T01:26:40.5Z",
            "2026-02-31T01:26:40Z",
            "2026-13-01T01:26:40Z",
            "1969-12-31T23:59:59Z",
            "2026-11-21T01:26:40Z\n",
            "+026-11-21T01:26:40Z",
            "ä26-11-21T01:26:40Z",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
