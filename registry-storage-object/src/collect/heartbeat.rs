//! [`Heartbeat`]: the sign that the holder of a collection is alive.
//!
//! It only spares a replica to take over a run that is going on. A run that is taken over by mistake stops, and loses
//! nothing but time.

use crate::{bucket::Bucket, gate::now, keys};
use registry_core::storage::Result;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time between two signs.
const INTERVAL: Duration = Duration::from_secs(60);

/// Age of the last sign from which on the holder counts as dead.
const DEAD: Duration = Duration::from_secs(4 * 60);

/// Renews the sign until it is dropped, and then removes it.
#[derive(Debug)]
pub(super) struct Heartbeat {
    bucket: Bucket,
    holder: String,
    beating: JoinHandle<()>,
}

impl Heartbeat {
    pub(super) async fn begin(bucket: &Bucket, holder: &str) -> Result<Self> {
        let key = keys::holder(holder);
        bucket.put(&key, "").await?;
        let beating = {
            let bucket = bucket.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(INTERVAL).await;
                    if let Err(error) = bucket.put(&key, "").await {
                        tracing::debug!(%error, "cannot renew the sign of the holder of a collection");
                    }
                }
            })
        };
        Ok(Self {
            bucket: bucket.clone(),
            holder: holder.to_owned(),
            beating,
        })
    }

    /// Returns true if the holder has given a sign lately.
    pub(super) async fn is_alive(bucket: &Bucket, holder: &str) -> Result<bool> {
        let sign = bucket.head(&keys::holder(holder)).await?;
        Ok(sign.is_some_and(|sign| {
            let age = now(bucket).time().duration_since(sign.modified);
            age.unwrap_or_default() < DEAD
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.beating.abort();
        let (bucket, key) = (self.bucket.clone(), keys::holder(&self.holder));
        // At the end of the process, the next run waits until the sign is old.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = bucket.delete(&key).await {
                    tracing::debug!(%error, "cannot remove the sign of the holder of a collection");
                }
            });
        }
    }
}
