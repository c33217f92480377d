//! Bucket bounds of the histograms.

use prometheus_client::metrics::histogram::Histogram;

/// Makes a histogram in seconds, with registry:2's bounds for requests, one below them and one above.
pub(crate) fn request_seconds() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 300.0,
    ])
}

/// Makes a histogram in seconds, from the time of a cached file to that of a broken disk.
pub(crate) fn operation_seconds() -> Histogram {
    Histogram::new([
        0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 60.0,
    ])
}

/// Makes a histogram in bytes, from 1 KiB to 16 GiB: every second one of registry:2's bounds, and further ones up to
/// the largest layers.
pub(crate) fn size_bytes() -> Histogram {
    Histogram::new((0..13).map(|power| 1024.0 * 4_f64.powi(power)))
}
