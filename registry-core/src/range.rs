//! [`RangeSpec`]: requested part of a blob.
//!
//! Specification: RFC 9110, section 14.1.2.

use std::ops::Range;

/// Requested part of a blob, before the size of the blob is known.
///
/// ```
/// use registry_core::RangeSpec;
///
/// assert_eq!(RangeSpec::Last(5).resolve(100), Some(95..100));
/// assert_eq!(RangeSpec::From(100).resolve(100), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=5-`: from an offset to the end.
    From(u64),
    /// `bytes=5-9`: from an offset to another, inclusive.
    FromTo(u64, u64),
    /// `bytes=-5`: the given number of bytes at the end.
    Last(u64),
}

impl RangeSpec {
    /// Returns the range of bytes in a blob of `size` bytes, end exclusive and never empty. Returns `None` if
    /// the blob has no such bytes.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..size,
            Self::FromTo(first, last) => first..size.min(last.saturating_add(1)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_the_specification_says() {
        for (spec, size, expected) in [
            (RangeSpec::FromTo(500, 1499), 2048, Some(500..1500)),
            (RangeSpec::From(500), 2048, Some(500..2048)),
            (RangeSpec::Last(500), 2048, Some(1548..2048)),
            (RangeSpec::Last(5000), 2048, Some(0..2048)),
            (RangeSpec::FromTo(2000, 5000), 2048, Some(2000..2048)),
            (RangeSpec::FromTo(0, u64::MAX), 2048, Some(0..2048)),
            (RangeSpec::FromTo(500, 0), 2048, None),
            (RangeSpec::FromTo(5000, 10000), 2048, None),
            (RangeSpec::From(2048), 2048, None),
            (RangeSpec::Last(0), 2048, None),
            (RangeSpec::From(0), 0, None),
            (RangeSpec::Last(1), 0, None),
        ] {
            assert_eq!(spec.resolve(size), expected, "{spec:?} of {size}");
        }
    }
}
