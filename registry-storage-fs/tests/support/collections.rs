//! Collections of a directory that has no clients.

use async_trait::async_trait;
use registry_core::{
    Registry,
    maintenance::{Clock, CollectEvent, CollectOptions, CollectReport},
    storage::Result,
};
use std::time::{Duration, SystemTime};

/// A clock by which no upload session is young.
pub(crate) struct Late;

#[async_trait]
impl Clock for Late {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 365 * 24 * 60 * 60)
    }

    async fn sleep(&self, _: Duration) {}
}

/// Removes what no tag refers to, at once. The trash keeps nothing.
pub(crate) async fn collect_all(
    registry: &Registry,
    told: &(dyn Fn(&CollectEvent<'_>) + Send + Sync),
) -> Result<CollectReport> {
    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .untagged(true)
        .empty_trash(true)
        .force(true);
    registry.collect(&options, &Late, told).await
}
