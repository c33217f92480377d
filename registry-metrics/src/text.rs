//! Text for Prometheus to scrape: OpenMetrics 1.0.

use prometheus_client::{encoding::text, registry::Registry};

/// Media type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns every instrument with its current value.
///
/// The [`gauges`](crate::gauges) read the file system here: call it where blocking is allowed.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail. If a collector fails, the text has no end marker, which scrapers detect.
    if let Err(error) = text::encode(&mut text, registry) {
        tracing::error!(%error, "the metrics are incomplete");
    }
    text
}
