//! Parts of blobs: a range is returned resolved, with exactly its bytes.

use super::{Backend, support::*};
use registry_core::{
    Digest,
    storage::{RangeSpec, ReadBlob, Storage, StorageError},
};
use std::ops::Range;

async fn part(storage: &dyn Storage, digest: &Digest, range: RangeSpec) -> (Range<u64>, bytes::Bytes) {
    let how = ReadBlob::part(Some(range));
    let opened = storage
        .open_blob(&repository("a"), digest, how)
        .await
        .unwrap()
        .unwrap();
    (opened.range.clone(), drain(opened).await)
}

pub async fn every_kind_of_range_gives_its_bytes(backend: Backend) {
    let bytes = content(1, 600_001);
    let blob = push(&backend.first, &repository("a"), &bytes).await;
    for (spec, expected) in [
        (RangeSpec::FromTo(0, 0), 0..1),
        (RangeSpec::FromTo(0, 499), 0..500),
        (RangeSpec::FromTo(262_000, 300_000), 262_000..300_001),
        (RangeSpec::FromTo(600_000, 600_000), 600_000..600_001),
        (RangeSpec::From(0), 0..600_001),
        (RangeSpec::From(1), 1..600_001),
        (RangeSpec::From(600_000), 600_000..600_001),
        (RangeSpec::Last(1), 600_000..600_001),
        (RangeSpec::Last(500_000), 100_001..600_001),
    ] {
        let (range, back) = part(&backend.second, &blob.digest, spec).await;

        let within = usize::try_from(expected.start).unwrap()..usize::try_from(expected.end).unwrap();
        assert_eq!(range, expected, "{spec:?}");
        assert!(back == bytes[within], "{spec:?} gave other bytes");
    }
}

pub async fn a_range_that_ends_beyond_the_blob_ends_with_it(backend: Backend) {
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &repository("a"), &bytes).await;
    for (spec, expected) in [
        (RangeSpec::FromTo(900, 5000), 900..1000),
        (RangeSpec::FromTo(0, u64::MAX), 0..1000),
        (RangeSpec::Last(u64::MAX), 0..1000),
    ] {
        let (range, back) = part(&backend.second, &blob.digest, spec).await;

        assert_eq!(range, expected, "{spec:?}");
        assert_eq!(
            back,
            bytes[usize::try_from(expected.start).unwrap()..],
            "{spec:?}"
        );
    }
}

pub async fn a_range_without_bytes_is_refused_with_the_size(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let empty = push(&backend.first, &a, &content(1, 0)).await;
    for (digest, size, spec) in [
        (blob.digest, 1000, RangeSpec::From(1000)),
        (blob.digest, 1000, RangeSpec::FromTo(1000, 2000)),
        (blob.digest, 1000, RangeSpec::FromTo(500, 499)),
        (blob.digest, 1000, RangeSpec::Last(0)),
        (empty.digest, 0, RangeSpec::From(0)),
        (empty.digest, 0, RangeSpec::Last(1)),
    ] {
        let refused = backend
            .second
            .open_blob(&a, &digest, ReadBlob::part(Some(spec)))
            .await;

        assert!(
            matches!(&refused, Err(StorageError::RangeUnsatisfiable { size: told, .. }) if *told == size),
            "{spec:?} of {size}: {refused:?}"
        );
    }
}

pub async fn a_range_of_an_absent_blob_is_an_absent_blob(backend: Backend) {
    let digest = Digest::of(registry_core::Algorithm::Sha256, b"never pushed");
    let how = ReadBlob::part(Some(RangeSpec::From(7)));

    let found = backend.first.open_blob(&repository("a"), &digest, how).await;

    assert!(matches!(found, Ok(None)), "{found:?}");
}

pub async fn every_range_of_a_small_blob_is_right(backend: Backend) {
    let bytes = content(1, 5);
    let blob = push(&backend.first, &repository("a"), &bytes).await;
    for first in 0..5 {
        for last in first..5 {
            let spec = RangeSpec::FromTo(first as u64, last as u64);
            let (_, back) = part(&backend.second, &blob.digest, spec).await;
            assert_eq!(back, bytes[first..=last], "{spec:?}");
        }
    }
}
