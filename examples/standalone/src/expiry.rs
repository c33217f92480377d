//! Upload sessions that clients abandoned: ended when nothing was added to them for a week.
//!
//! registry:2's `storage.maintenance.uploadpurging`.

use registry_core::{Storage, maintenance::expire_uploads};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

/// When sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// How long a session may be left alone.
    pub(crate) age: Duration,
    /// How long until the next look.
    pub(crate) interval: Duration,
}

/// Looks at once, and then time and again, for as long as it is polled; not at all without an expiry.
pub(crate) async fn run(storage: &dyn Storage, expiry: Option<Expiry>) -> Infallible {
    let Some(Expiry { age, interval }) = expiry else {
        return std::future::pending().await;
    };
    let mut times = tokio::time::interval(interval);
    loop {
        times.tick().await;
        let Some(before) = SystemTime::now().checked_sub(age) else {
            continue;
        };
        match expire_uploads(storage, before).await {
            Ok(report) if report.expired > 0 || report.failed > 0 => {
                let (expired, bytes, failed) = (report.expired, report.bytes, report.failed);
                tracing::info!(expired, bytes, failed, "abandoned upload sessions were ended");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "abandoned upload sessions could not be looked for"),
        }
    }
}
