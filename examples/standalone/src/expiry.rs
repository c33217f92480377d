//! Upload sessions that clients abandoned: ended when nothing was added to them for a week.
//!
//! The times are those of registry:2's `uploadpurging`.

use registry_core::{Storage, maintenance::expire_uploads};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

/// How long a session may be left alone.
const IDLE: Duration = Duration::from_secs(168 * 60 * 60);
/// How long until the next look.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks at once, and then every day, for as long as it is polled.
pub(crate) async fn run(storage: &dyn Storage) -> Infallible {
    let mut days = tokio::time::interval(EVERY);
    loop {
        days.tick().await;
        match expire_uploads(storage, SystemTime::now() - IDLE).await {
            Ok(report) if report.expired > 0 || report.failed > 0 => {
                let (expired, bytes, failed) = (report.expired, report.bytes, report.failed);
                tracing::info!(expired, bytes, failed, "abandoned upload sessions were ended");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "abandoned upload sessions could not be looked for"),
        }
    }
}
