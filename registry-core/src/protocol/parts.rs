//! [`Parts`]: several parts of a blob in one response, as `multipart/byteranges`.
//!
//! Specification: RFC 9110, sections 14.6 and 15.3.7.2; RFC 2046, section 5.1.1.

use crate::{digest::Digest, range::RangeSpec};
use std::ops::Range;

/// Maximum number of ranges that are answered with parts. Each part costs a search for the blob.
pub(super) const MOST: usize = 1024;
/// Maximum number of characters in a boundary that all mail and HTTP libraries accept.
const BOUNDARY: usize = 64;

/// Several parts of one blob, in the order in which they were requested. They are never sorted or merged,
/// because clients count them.
///
/// ```
/// use registry_core::{Digest, RangeSpec, protocol::{Parts, Selection}};
///
/// let blob = b"0123456789";
/// let digest = Digest::of(registry_core::Algorithm::Sha256, blob);
/// let asked = [RangeSpec::Last(2), RangeSpec::FromTo(0, 2), RangeSpec::From(99)];
/// let Selection::Several(parts) = Selection::of(&asked, digest, blob.len() as u64) else {
///     panic!("two ranges have bytes of the blob");
/// };
/// assert_eq!(parts.ranges(), [8..10, 0..3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    digest: Digest,
    size: u64,
    ranges: Vec<Range<u64>>,
}

/// Bytes of a blob that several ranges select, once its size is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// No range has bytes of the blob.
    Nothing,
    /// A single range has bytes of the blob.
    One(Range<u64>),
    /// Several ranges have bytes of the blob.
    Several(Parts),
    /// The ranges have more bytes than the blob, or there are too many of them: the response is the whole
    /// blob.
    Whole,
}

impl Selection {
    /// Resolves the ranges, and drops those that have no bytes of the blob.
    #[must_use]
    pub fn of(asked: &[RangeSpec], digest: Digest, size: u64) -> Self {
        if asked.len() > MOST {
            return Self::Whole;
        }
        let mut ranges: Vec<_> = asked.iter().filter_map(|range| range.resolve(size)).collect();
        let bytes: u128 = ranges
            .iter()
            .map(|range| u128::from(range.end - range.start))
            .sum();
        match ranges.len() {
            0 => Self::Nothing,
            _ if bytes > u128::from(size) => Self::Whole,
            1 => Self::One(ranges.remove(0)),
            _ => Self::Several(Parts { digest, size, ranges }),
        }
    }
}

impl Parts {
    /// Returns the digest of the blob.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the range of each part, end exclusive and never empty.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Returns the `Content-Type` of the response.
    pub(super) fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary())
    }

    /// Returns the `Content-Length` of the response.
    #[must_use]
    pub fn length(&self) -> u64 {
        let parts = self.ranges.iter().enumerate().map(|(number, range)| {
            let head = self.head_of(number, range);
            (head.len() as u64).saturating_add(range.end - range.start)
        });
        parts.fold(self.end().len() as u64, u64::saturating_add)
    }

    /// Returns the text before the bytes of part `number`, counted from 0. Returns `None` after the last
    /// part.
    #[must_use]
    pub fn head(&self, number: usize) -> Option<String> {
        let range = self.ranges.get(number)?;
        Some(self.head_of(number, range))
    }

    /// Returns the text after the bytes of the last part.
    #[must_use]
    pub fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary())
    }

    fn head_of(&self, number: usize, range: &Range<u64>) -> String {
        let line_end = if number == 0 { "" } else { "\r\n" };
        format!(
            "{line_end}--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            self.boundary(),
            range.start,
            range.end.saturating_sub(1),
            self.size,
        )
    }

    /// Returns the boundary, which is the digest of the blob. No blob can contain its own digest unless the
    /// hash is broken.
    fn boundary(&self) -> String {
        let mut boundary = self.digest.hex();
        boundary.truncate(BOUNDARY);
        boundary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn select(asked: &[RangeSpec], size: u64) -> Selection {
        Selection::of(asked, Digest::of(Algorithm::Sha256, b"blob"), size)
    }

    #[test]
    fn ranges_are_kept_in_their_order_and_dropped_without_bytes() {
        use RangeSpec::{From, FromTo, Last};
        let cases: [(&[RangeSpec], &[Range<u64>]); 4] = [
            (&[FromTo(50, 59), FromTo(0, 9)], &[50..60, 0..10]),
            (
                &[FromTo(0, 9), FromTo(5, 14), FromTo(10, 19)],
                &[0..10, 5..15, 10..20],
            ),
            (
                &[From(90), Last(5), From(100), Last(0), FromTo(9, 8)],
                &[90..100, 95..100],
            ),
            (&[FromTo(0, 49), FromTo(50, u64::MAX)], &[0..50, 50..100]),
        ];
        for (asked, expected) in cases {
            match select(asked, 100) {
                Selection::Several(parts) => assert_eq!(parts.ranges(), expected, "{asked:?}"),
                other => panic!("{asked:?}: {other:?}"),
            }
        }
        assert_eq!(select(&[From(100), FromTo(3, 4)], 100), Selection::One(3..5));
        assert_eq!(select(&[From(100), Last(0)], 100), Selection::Nothing);
        assert_eq!(select(&[From(0), Last(1)], 0), Selection::Nothing);
    }

    #[test]
    fn what_is_more_than_the_blob_is_the_blob() {
        use RangeSpec::{From, FromTo};
        assert_eq!(select(&[From(0), FromTo(0, 0)], 100), Selection::Whole);
        assert_eq!(select(&[FromTo(0, 0); 3], 2), Selection::Whole);
        assert_eq!(select(&[From(0); MOST], u64::MAX), Selection::Whole);
        assert!(matches!(
            select(&[FromTo(0, 0); MOST], 1024),
            Selection::Several(_)
        ));
        assert_eq!(select(&[FromTo(0, 0); MOST + 1], 5000), Selection::Whole);
    }

    #[test]
    fn the_length_is_that_of_what_is_sent() {
        for algorithm in Algorithm::ALL {
            let blob = [7; 2000];
            let digest = Digest::of(algorithm, &blob);
            let asked = [
                RangeSpec::FromTo(0, 0),
                RangeSpec::FromTo(5, 999),
                RangeSpec::Last(10),
            ];
            let Selection::Several(parts) = Selection::of(&asked, digest, 2000) else {
                panic!("three ranges have bytes");
            };

            let mut sent = String::new();
            for (number, range) in parts.ranges().iter().enumerate() {
                sent += &parts.head(number).unwrap();
                sent += &"x".repeat(usize::try_from(range.end - range.start).unwrap());
            }
            sent += &parts.end();

            assert_eq!(parts.length(), sent.len() as u64);
            assert_eq!(parts.head(3), None);
            let (boundary, _) = sent.strip_prefix("--").unwrap().split_once("\r\n").unwrap();
            assert_eq!(
                parts.media_type(),
                format!("multipart/byteranges; boundary={boundary}")
            );
            assert!(boundary.len() <= 70 && digest.to_string().contains(boundary));
        }
    }
}
