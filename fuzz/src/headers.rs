//! `Range` and `Content-Range`.

use registry_core::{
    protocol::{ContentRange, Upload, parse_range},
    storage::RangeSpec,
};

/// The sizes that a naive model can count through.
const SIZES: [u64; 6] = [0, 1, 2, 9, 10, 255];

/// A `Range` resolves to exactly the bytes that it names, whatever the size of the blob.
pub fn range(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match parse_range(text) {
        Ok(Some(spec)) => {
            let spelled = match spec {
                RangeSpec::From(first) => format!("bytes={first}-"),
                RangeSpec::FromTo(first, last) => format!("bytes={first}-{last}"),
                RangeSpec::Last(count) => format!("bytes=-{count}"),
            };
            assert_eq!(parse_range(&spelled).ok().flatten(), Some(spec), "{text:?}");
            for size in SIZES {
                let named: Vec<u64> = (0..size).filter(|byte| names(spec, *byte, size)).collect();
                let resolved = spec.resolve(size).map(|range| range.collect::<Vec<_>>());
                assert_eq!(resolved.unwrap_or_default(), named, "{spec:?} of {size}");
            }
            if let Some(range) = spec.resolve(u64::MAX) {
                assert!(range.start < range.end);
            }
        }
        // To be ignored: another unit, or several ranges.
        Ok(None) => assert!(text.contains('=')),
        Err(error) => assert_eq!(error.wire().0, 400),
    }
}

fn names(spec: RangeSpec, byte: u64, size: u64) -> bool {
    match spec {
        RangeSpec::From(first) => byte >= first,
        RangeSpec::FromTo(first, last) => (first..=last).contains(&byte),
        RangeSpec::Last(count) => size - byte <= count,
    }
}

/// A chunk is taken where it continues the session and nowhere else, and never beyond what can be counted.
pub fn content_range(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(chunk) = ContentRange::parse(text) else {
        return;
    };
    assert_eq!(
        ContentRange::parse(&chunk.to_string()).ok(),
        Some(chunk),
        "{text:?}"
    );
    assert_eq!(ContentRange::parse(&format!("bytes {chunk}/*")).ok(), Some(chunk));
    assert_eq!(ContentRange::of(chunk.first(), chunk.length()), Some(chunk));
    assert!(chunk.length() > 0);
    assert_eq!(
        u128::from(chunk.first()) + u128::from(chunk.length()),
        u128::from(chunk.end())
    );

    let (first, length) = (chunk.first(), chunk.length());
    assert_eq!(
        Upload::at(first).begin_chunk(Some(chunk), Some(length)),
        Ok(Some(chunk.end()))
    );
    assert_eq!(Upload::at(first).advanced(length).offset(), chunk.end());
    for elsewhere in [first.checked_sub(1), first.checked_add(1)].into_iter().flatten() {
        assert!(
            Upload::at(elsewhere).begin_chunk(Some(chunk), None).is_err(),
            "{chunk}"
        );
    }
    for other in [length - 1, length.saturating_add(1)] {
        assert_eq!(
            Upload::at(first).begin_chunk(Some(chunk), Some(other)).is_ok(),
            other == length
        );
    }
}
