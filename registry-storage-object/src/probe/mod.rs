//! [`Probe`]: what an object store can do, found out by trying.
//!
//! A store may answer one request after the other correctly and still let several of many simultaneous ones win. So the
//! probe races.

pub(crate) mod kept;
mod races;
mod setting;
mod trials;

use self::{kept::Probe, setting::Trial};
use crate::{
    bucket::{Bucket, StoreTime},
    gate::now,
    keys,
    nonce::nonce,
};
use futures_util::TryStreamExt as _;
use registry_core::storage::Result;
use std::time::Duration;

/// Age from which on the keys of a probe are those of a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Time for which a result counts.
pub(crate) const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// Time for which a result is kept that does not count any more.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

impl Probe {
    /// Tries everything below a directory of its own, and removes it.
    pub(crate) async fn run(bucket: &Bucket) -> Result<Self> {
        let directory = format!("{}/{}", keys::PROBE, nonce()?);
        let trial = Trial::new(bucket, &directory)?;
        let found = trial.all().await;
        // What others left is of names that nobody uses again. A probe takes seconds.
        let now = now(bucket);
        let left: Vec<_> = bucket.list(keys::PROBE).try_collect().await.unwrap_or_default();
        let mut over = Vec::new();
        for object in left {
            let lasts = match object.key.starts_with(keys::KEPT_PROBES) {
                true => REMEMBERED,
                false => ABANDONED,
            };
            let is_old = now.since(StoreTime::of(object.modified)) > lasts;
            if is_old || object.key.starts_with(&directory) {
                over.push(object.key);
            }
        }
        let _ = bucket.delete_all(over.into_iter()).await;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        location::{Asking, Location},
        rung::Rung,
    };

    #[tokio::test]
    async fn memory_keeps_everything() {
        let bucket = Location::memory().bucket("", &Asking::default()).unwrap();
        let probe = Probe::run(&bucket).await.unwrap();
        assert_eq!(probe.rung(), Some(Rung::Conditional), "{probe}");
        assert!(
            probe.rows().iter().all(|(_, kept, _)| kept.is_always()),
            "{probe}"
        );
        let left: Vec<_> = bucket.list(keys::TOP).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
