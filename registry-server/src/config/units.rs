//! Scalars with a meaning: switches, durations, sizes.

use std::time::Duration;

/// Parses a switch of YAML 1.1, as registry:2 reads it.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err("must be `true` or `false`".into()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.replace('_', "")
        .parse()
        .ok()
        .ok_or_else(|| "must be a number, at least 0".into())
}

/// Parses a size in bytes, with an optional `k`, `m`, `g` or `t`. Each is 1024 times the one before; `gb` equals `GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let malformed = || "must be a size such as `512m` or `10g`".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let power = match unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(unit)
    {
        "" if !unit.starts_with('i') => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(malformed()),
    };
    let number: u64 = number.parse().ok().ok_or_else(malformed)?;
    number.checked_mul(1024_u64.pow(power)).ok_or_else(malformed)
}

/// Returns true if a duration is so few nanoseconds that its unit was probably forgotten.
pub(super) fn lacks_unit(text: &str) -> bool {
    text.parse()
        .is_ok_and(|nanoseconds: u64| (1..1_000_000).contains(&nanoseconds))
}

/// Parses a duration of Go: `300ms`, `1.5h`, `1h30m`. A number without a unit counts nanoseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || "must be a duration such as `30s`, `1h30m` or `1.5h`".to_owned();
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(malformed)?;
        let (number, unit_on) = rest.split_at(digits);
        let end = unit_on
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(unit_on.len());
        let (unit, after) = unit_on.split_at(end);
        let nanoseconds = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(malformed()),
        };
        let number: f64 = number.parse().ok().ok_or_else(malformed)?;
        let part = Duration::try_from_secs_f64(number * nanoseconds / 1e9)
            .ok()
            .ok_or_else(malformed)?;
        total = total.checked_add(part).ok_or_else(malformed)?;
        rest = after;
    }
    if text.is_empty() {
        Err(malformed())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        for (text, milliseconds) in [
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("10s", 10_000),
            ("300ms", 300),
            ("0", 0),
            ("0s", 0),
            ("2000000", 2),
            ("168h", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "10 s",
            "1d",
            "-1s",
            "1h30",
            "1e400h",
            "..s",
            "9999999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_1024s() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("1b", 1),
            ("100m", 100 << 20),
            ("1K", 1024),
            ("10GB", 10 << 30),
            ("10gib", 10 << 30),
            ("16777215t", 16_777_215 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "g",
            "ib",
            "1ib",
            "1.5g",
            "-1",
            "1 g",
            "1p",
            "1gg",
            "16777216t",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn switches_are_yaml_1_1_s() {
        assert_eq!(
            ["yes", "On", "TRUE", "y"].map(switch),
            [Ok(true), Ok(true), Ok(true), Ok(true)]
        );
        assert_eq!(
            ["no", "off", "False", "N"].map(switch),
            [Ok(false), Ok(false), Ok(false), Ok(false)]
        );
        assert!(switch("1").is_err());
    }
}
