//! `Range` on blob reads, and `Content-Range` on chunks.

use super::{error::InvalidRequest, parts::MOST};
use crate::range::RangeSpec;

const RANGE: &str = "ranges such as `bytes=0-99`, `bytes=100-`, `bytes=-100` or `bytes=0-9,90-99`";
const CONTENT_RANGE: &str = "`<first>-<last>`, both inclusive";

/// Parses `Range` (RFC 9110, section 14.2) and returns the ranges in their order.
///
/// Returns no ranges if the header has to be ignored: for another unit than bytes, or a list with a malformed
/// item. At most one range more than the maximum for a response is parsed.
///
/// ```
/// use registry_core::{RangeSpec, protocol::parse_ranges};
///
/// assert_eq!(parse_ranges("bytes=0-99,-10")?, [RangeSpec::FromTo(0, 99), RangeSpec::Last(10)]);
/// assert_eq!(parse_ranges("lines=1-2")?, []);
/// assert!(parse_ranges("bytes=x").is_err());
/// # Ok::<(), registry_core::protocol::InvalidRequest>(())
/// ```
///
/// # Errors
///
/// [`InvalidRequest::Header`] for a single malformed range of bytes.
pub fn parse_ranges(header: &str) -> Result<Vec<RangeSpec>, InvalidRequest> {
    let malformed = || InvalidRequest::Header {
        name: "Range",
        expected: RANGE,
    };
    let (unit, set) = header.split_once('=').ok_or_else(malformed)?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ok(Vec::new());
    }
    // A list may have empty items (section 5.6.1).
    let items = set.split(',').map(str::trim).filter(|item| !item.is_empty());
    match items.take(MOST + 1).map(range).collect::<Option<Vec<_>>>() {
        Some(ranges) if !ranges.is_empty() => Ok(ranges),
        _ if set.contains(',') => Ok(Vec::new()),
        _ => Err(malformed()),
    }
}

fn range(text: &str) -> Option<RangeSpec> {
    match text.split_once('-')? {
        ("", last) => number(last).map(RangeSpec::Last),
        (first, "") => number(first).map(RangeSpec::From),
        (first, last) => Some(RangeSpec::FromTo(number(first)?, number(last)?)),
    }
}

/// Parses a decimal number of digits only. A number beyond `u64` becomes the largest `u64`.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Position of a chunk in the blob: `Content-Range: <first>-<last>`, both inclusive, never empty.
///
/// ```
/// use registry_core::protocol::ContentRange;
///
/// let chunk = ContentRange::parse("100-149")?;
/// assert_eq!((chunk.first(), chunk.length(), chunk.end()), (100, 50, 150));
/// assert_eq!(Some(chunk), ContentRange::of(100, 50));
/// # Ok::<(), registry_core::protocol::InvalidRequest>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    first: u64,
    last: u64,
}

impl ContentRange {
    /// Parses the header. The specification has no unit, but `bytes 0-99/*` as in RFC 9110 is accepted too.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Header`] for anything else, and if it ends before it begins.
    pub fn parse(header: &str) -> Result<Self, InvalidRequest> {
        let malformed = || InvalidRequest::Header {
            name: "Content-Range",
            expected: CONTENT_RANGE,
        };
        let text = header.trim();
        let text = text
            .strip_prefix("bytes")
            .map_or(text, |rest| rest.trim_start_matches(' '));
        let text = text.split_once('/').map_or(text, |(range, _size)| range);
        let (first, last) = text.split_once('-').ok_or_else(malformed)?;
        let (first, last) = number(first).zip(number(last)).ok_or_else(malformed)?;
        if last < first || last == u64::MAX {
            return Err(malformed());
        }
        Ok(Self { first, last })
    }

    /// Describes `length` bytes from offset `first` on. Returns `None` if `length` is 0.
    #[must_use]
    pub fn of(first: u64, length: u64) -> Option<Self> {
        let last = first.checked_add(length.checked_sub(1)?)?;
        Some(Self { first, last })
    }

    /// Returns the offset of the first byte, counted from the start of the blob.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// Returns the offset after the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.end() - self.first
    }
}

impl std::fmt::Display for ContentRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_bytes_are_understood_in_their_order() {
        use RangeSpec::{From, FromTo, Last};
        let cases: [(&str, &[RangeSpec]); 11] = [
            ("bytes=0-99", &[FromTo(0, 99)]),
            ("Bytes=5-", &[From(5)]),
            ("bytes= -5", &[Last(5)]),
            ("bytes=0-99999999999999999999999", &[FromTo(0, u64::MAX)]),
            ("bytes=5-9,0-1", &[FromTo(5, 9), FromTo(0, 1)]),
            (
                "bytes=0-0 ,\t0-0, -1,7-",
                &[FromTo(0, 0), FromTo(0, 0), Last(1), From(7)],
            ),
            ("bytes=,0-1,,", &[FromTo(0, 1)]),
            ("lines=1-2", &[]),
            ("lines=1-2,3-4", &[]),
            ("bytes=,", &[]),
            ("bytes=0-1,a", &[]),
        ];
        for (header, expected) in cases {
            assert_eq!(parse_ranges(header).unwrap(), expected, "{header}");
        }
        let many = format!("bytes={}", "0-0,".repeat(5000));
        assert_eq!(parse_ranges(&many).unwrap().len(), MOST + 1);
        for header in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1 - 2",
        ] {
            assert!(parse_ranges(header).is_err(), "{header}");
        }
    }

    #[test]
    fn a_chunk_is_announced_with_and_without_a_unit() {
        let chunk = ContentRange::of(0, 100).unwrap();
        for header in ["0-99", "bytes 0-99", "bytes 0-99/*", "bytes 0-99/1000"] {
            assert_eq!(ContentRange::parse(header).unwrap(), chunk, "{header}");
        }
        for header in [
            "",
            "-",
            "5-",
            "-5",
            "9-5",
            "a-b",
            "bytes",
            "0-18446744073709551615",
            "0-99-",
            "bytes=0-99",
        ] {
            assert!(ContentRange::parse(header).is_err(), "{header}");
        }
        assert_eq!((chunk.first(), chunk.end(), chunk.length()), (0, 100, 100));
        assert_eq!(ContentRange::of(5, 0), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "(bytes|[-= ,/0-9]|\\PC){0,40}") {
            let _ = parse_ranges(&header);
            if let Ok(chunk) = ContentRange::parse(&header) {
                prop_assert_eq!(ContentRange::parse(&chunk.to_string()).unwrap(), chunk);
                prop_assert_eq!(chunk.first() + chunk.length(), chunk.end());
            }
        }
    }
}
