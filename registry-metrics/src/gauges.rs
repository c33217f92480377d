//! Gauges: values read at each scrape, and constants of the process.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::ConstCounter,
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::Registry,
};
use registry_core::{
    maintenance::{CollectCounts, LastVerification},
    storage::{self, Space},
};
use std::{
    fmt, io,
    sync::atomic::AtomicU64,
    time::{SystemTime, UNIX_EPOCH},
};

/// Registers `registry_build_info`: the running version.
pub fn build(registry: &mut Registry, version: &str) {
    let labels = vec![("version", version.to_owned())];
    registry.register(
        "registry_build",
        "Version of the running program",
        Info::new(labels),
    );
}

/// Registers `process_start_time_seconds`, under the name that every exporter uses.
pub fn process_start(registry: &mut Registry, started: SystemTime) {
    let seconds = started
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(seconds);
    registry.register(
        "process_start_time_seconds",
        "Start time of the process, in seconds since 1970",
        gauge,
    );
}

/// Registers `registry_storage_open_uploads`: the number of open upload sessions, as `count` returns it at the scrape.
///
/// ```
/// use registry_metrics::{gauges, prometheus_client::registry::Registry, text};
///
/// let mut instruments = Registry::default();
/// gauges::open_uploads(&mut instruments, || 3);
///
/// assert!(text::encode(&instruments).contains("registry_storage_open_uploads 3"));
/// ```
pub fn open_uploads(registry: &mut Registry, count: impl Fn() -> usize + Send + Sync + 'static) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let gauge = ConstGauge::new(count());
        gauge.encode(encoder.encode_descriptor(
            "registry_storage_open_uploads",
            "Open upload sessions.",
            None,
            gauge.metric_type(),
        )?)
    })));
}

/// Registers `registry_storage_quarantined`: the number of damaged items in quarantine, as `count` returns it at the
/// scrape. While `count` fails, the gauge is absent.
pub fn quarantined(registry: &mut Registry, count: impl Fn() -> io::Result<usize> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let count = match count() {
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(%error, "cannot count the items in quarantine");
                return Ok(());
            }
        };
        let gauge = ConstGauge::new(count);
        gauge.encode(encoder.encode_descriptor(
            "registry_storage_quarantined",
            "Damaged items in quarantine.",
            None,
            gauge.metric_type(),
        )?)
    })));
}

/// Registers the last verification of everything stored, as `last` returns it at the scrape:
/// `registry_storage_verified_timestamp_seconds`, the time of its end, and `registry_storage_verified_wrong`, the number
/// of things that were wrong. While there is none, both are absent.
///
/// ```
/// use registry_core::maintenance::VerifyStatus;
/// use registry_metrics::{gauges, prometheus_client::registry::Registry, text};
///
/// let status = VerifyStatus::default();
/// let mut instruments = Registry::default();
/// gauges::verified(&mut instruments, move || status.last());
///
/// assert!(!text::encode(&instruments).contains("registry_storage_verified"));
/// ```
pub fn verified(
    registry: &mut Registry,
    last: impl Fn() -> Option<LastVerification> + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let Some(last) = last() else {
            return Ok(());
        };
        for (name, help, value) in [
            (
                "registry_storage_verified_timestamp_seconds",
                "End of the last verification of everything stored, in seconds since 1970.",
                last.ended,
            ),
            (
                "registry_storage_verified_wrong",
                "Things that were wrong at the last verification.",
                last.wrong,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    })));
}

/// Registers the collections of this process, as `counts` returns them at the scrape:
///
/// - `registry_storage_collected_items_total` and `registry_storage_collected_bytes_total`: removed items, and the bytes
///   that this freed.
/// - `registry_storage_due_items` and `registry_storage_due_bytes`: items that nothing refers to, and that are still there.
/// - `registry_storage_overdue_items` and `registry_storage_overdue_bytes`: items among them that are not removed, although
///   nothing protects them any more.
///
/// Some are absent while there is nothing to show: `registry_storage_collected_timestamp_seconds`, the end of the last
/// collection, and `registry_storage_oldest_due_timestamp_seconds`, the time from which on the first item can be removed.
///
/// ```
/// use registry_core::maintenance::Collections;
/// use registry_metrics::{gauges, prometheus_client::registry::Registry, text};
///
/// let collections = Collections::default();
/// let mut instruments = Registry::default();
/// gauges::collections(&mut instruments, move || collections.counts());
///
/// assert!(text::encode(&instruments).contains("registry_storage_collected_items_total 0"));
/// ```
pub fn collections(registry: &mut Registry, counts: impl Fn() -> CollectCounts + Send + Sync + 'static) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let counts = counts();
        for (name, help, value) in [
            (
                "registry_storage_collected_items",
                "Items that collections have removed.",
                counts.removed.items(),
            ),
            (
                "registry_storage_collected_bytes",
                "Bytes that collections have freed.",
                counts.removed.bytes,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let seconds = |time: Option<SystemTime>| {
            let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            since.map(|since| since.as_secs())
        };
        for (name, help, value) in [
            (
                "registry_storage_due_items",
                "Items that nothing refers to, and that are still there.",
                Some(counts.due.items),
            ),
            (
                "registry_storage_due_bytes",
                "Bytes of items that nothing refers to, and that are still there.",
                Some(counts.due.bytes),
            ),
            (
                "registry_storage_overdue_items",
                "Items that nothing refers to and nothing protects, and that are still there.",
                Some(counts.overdue.items),
            ),
            (
                "registry_storage_overdue_bytes",
                "Bytes of items that nothing refers to and nothing protects, and that are still there.",
                Some(counts.overdue.bytes),
            ),
            (
                "registry_storage_oldest_due_timestamp_seconds",
                "Time from which on the first item that nothing refers to can be removed, in seconds since 1970.",
                seconds(counts.oldest_due),
            ),
            (
                "registry_storage_collected_timestamp_seconds",
                "End of the last collection, in seconds since 1970.",
                seconds(counts.ended),
            ),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    })));
}

/// Registers `registry_health_passing`: 1 for each check that passes, 0 for each that fails, as `checks` returns it at
/// the scrape.
///
/// ```
/// use registry_metrics::{gauges, prometheus_client::registry::Registry, text};
///
/// let mut instruments = Registry::default();
/// gauges::health(&mut instruments, || vec![("storage".to_owned(), true)]);
///
/// assert!(text::encode(&instruments).contains(r#"registry_health_passing{check="storage"} 1"#));
/// ```
pub fn health(registry: &mut Registry, checks: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let mut family = encoder.encode_descriptor(
            "registry_health_passing",
            "Result of a health check: 1 if it passes, 0 if it fails.",
            None,
            MetricType::Gauge,
        )?;
        for (check, passes) in checks() {
            let labels = [("check", check)];
            ConstGauge::new(u64::from(passes)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    })));
}

/// Registers `registry_tls_certificate_expiration_timestamp_seconds`: the end of the served certificate's validity, in
/// seconds since 1970, as `until` returns it at the scrape. While none is served, it is absent.
///
/// The time left is `registry_tls_certificate_expiration_timestamp_seconds - time()`. A point in time, unlike the time
/// left, has the same value at every scrape.
pub fn certificate(registry: &mut Registry, until: impl Fn() -> Option<SystemTime> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let Some(until) = until() else {
            return Ok(());
        };
        // An end before 1970 is in the past as well.
        let seconds = until
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let gauge = ConstGauge::new(seconds);
        gauge.encode(encoder.encode_descriptor(
            "registry_tls_certificate_expiration_timestamp_seconds",
            "End of the validity of the served certificate, in seconds since 1970.",
            None,
            gauge.metric_type(),
        )?)
    })));
}

/// Registers `registry_storage_free_bytes` and `registry_storage_size_bytes`: the space of the storage, as `space`
/// returns it at the scrape. While `space` fails or is not known, they are absent.
pub fn space(
    registry: &mut Registry,
    space: impl Fn() -> storage::Result<Option<Space>> + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(Asked(move |mut encoder: DescriptorEncoder<'_>| {
        let space = match space() {
            Ok(Some(space)) => space,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "cannot determine the free space");
                return Ok(());
            }
        };
        let mut show = |name, help, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        show(
            "registry_storage_free_bytes",
            "Free bytes of the storage.",
            space.bytes_free,
        )?;
        show(
            "registry_storage_size_bytes",
            "Size of the file system that contains the storage, in bytes.",
            space.bytes_total,
        )
    })));
}

/// A collector that calls a closure at each scrape.
struct Asked<F>(F);

impl<F> fmt::Debug for Asked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

impl<F> Collector for Asked<F>
where
    F: Fn(DescriptorEncoder<'_>) -> fmt::Result + Send + Sync + 'static,
{
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)(encoder)
    }
}
