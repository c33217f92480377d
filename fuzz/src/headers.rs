//! `Range` and `Content-Range`.

use registry_core::{
    Algorithm, Digest,
    protocol::{ContentRange, Selection, Upload, parse_ranges},
    storage::RangeSpec,
};

/// Sizes small enough for a naive model to count through.
const SIZES: [u64; 6] = [0, 1, 2, 9, 10, 255];

/// Checks that each range of a `Range` resolves to exactly the bytes that it names, for any size of the blob.
pub fn range(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match parse_ranges(text) {
        // To be ignored: another unit, or a list of which something is no range.
        Ok(specs) if specs.is_empty() => assert!(text.contains('=')),
        Ok(specs) => {
            let spelled: Vec<String> = specs.iter().map(|spec| spelled(*spec)).collect();
            let again = parse_ranges(&format!("bytes={}", spelled.join(",")));
            assert_eq!(again.ok().as_ref(), Some(&specs), "{text:?}");
            specs.iter().for_each(|spec| resolves(*spec));
            selects(&specs);
        }
        Err(error) => assert_eq!(error.wire().0, 400),
    }
}

fn spelled(spec: RangeSpec) -> String {
    match spec {
        RangeSpec::From(first) => format!("{first}-"),
        RangeSpec::FromTo(first, last) => format!("{first}-{last}"),
        RangeSpec::Last(count) => format!("-{count}"),
    }
}

fn resolves(spec: RangeSpec) {
    for size in SIZES {
        let named: Vec<u64> = (0..size).filter(|byte| names(spec, *byte, size)).collect();
        let resolved = spec.resolve(size).map(|range| range.collect::<Vec<_>>());
        assert_eq!(resolved.unwrap_or_default(), named, "{spec:?} of {size}");
    }
    if let Some(range) = spec.resolve(u64::MAX) {
        assert!(range.start < range.end);
    }
}

/// Checks that several ranges select bytes of the blob, no more than the whole, in the requested order.
fn selects(specs: &[RangeSpec]) {
    let digest = Digest::of(Algorithm::Sha256, b"");
    for size in SIZES.into_iter().chain([u64::MAX]) {
        let ranges: Vec<_> = specs.iter().filter_map(|spec| spec.resolve(size)).collect();
        match Selection::of(specs, digest, size) {
            Selection::Nothing => assert!(ranges.is_empty()),
            Selection::One(range) => assert_eq!(ranges, [range]),
            Selection::Several(parts) => {
                assert_eq!(parts.ranges(), ranges);
                let bytes = ranges.iter().map(|range| u128::from(range.end - range.start));
                assert!(ranges.len() > 1 && bytes.sum::<u128>() <= u128::from(size));
                assert!(parts.length() > 0);
            }
            Selection::Whole => assert!(ranges.len() > 1 || specs.len() > 1024),
        }
    }
}

fn names(spec: RangeSpec, byte: u64, size: u64) -> bool {
    match spec {
        RangeSpec::From(first) => byte >= first,
        RangeSpec::FromTo(first, last) => (first..=last).contains(&byte),
        RangeSpec::Last(count) => size - byte <= count,
    }
}

/// Checks that a chunk is accepted only where it continues the session, and never beyond the largest offset.
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
