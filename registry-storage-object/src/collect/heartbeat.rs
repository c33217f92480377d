//! [`Heartbeat`]: the sign that the holder of a collection is alive.
//!
//! It only spares a replica to take over a run that is going on. A run that is taken over by mistake stops, and loses
//! nothing but time.

use crate::{bucket::Bucket, gate::now, keys, process::Process};
use registry_core::storage::Result;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// Number of signs in the time after which the holder counts as dead.
const SIGNS: u32 = 4;

/// Renews the sign until it is dropped, and then removes it.
#[derive(Debug)]
pub(super) struct Heartbeat {
    bucket: Bucket,
    process: Arc<Process>,
    holder: String,
    beating: JoinHandle<()>,
}

impl Heartbeat {
    /// Gives the first sign. Without a further one for `dead`, the holder counts as dead.
    pub(super) async fn begin(
        bucket: &Bucket,
        process: &Arc<Process>,
        holder: &str,
        dead: Duration,
    ) -> Result<Self> {
        let key = keys::holder(holder);
        process.signs(&key);
        bucket.put(&key, "").await?;
        let beating = {
            let bucket = bucket.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(dead / SIGNS).await;
                    if let Err(error) = bucket.put(&key, "").await {
                        tracing::debug!(%error, "cannot renew the sign of the holder of a collection");
                    }
                }
            })
        };
        Ok(Self {
            bucket: bucket.clone(),
            process: Arc::clone(process),
            holder: holder.to_owned(),
            beating,
        })
    }

    /// Returns true if the holder has given a sign in the time `dead`.
    pub(super) async fn is_alive(bucket: &Bucket, holder: &str, dead: Duration) -> Result<bool> {
        let sign = bucket.head(&keys::holder(holder)).await?;
        Ok(sign.is_some_and(|sign| {
            let age = now(bucket).time().duration_since(sign.modified);
            age.unwrap_or_default() < dead
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.beating.abort();
        let (bucket, key) = (self.bucket.clone(), keys::holder(&self.holder));
        let process = Arc::clone(&self.process);
        // If it stays, the next run waits until it is old.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                match bucket.delete(&key).await {
                    Ok(_) => process.has_removed_sign(&key),
                    Err(error) => {
                        tracing::debug!(%error, "cannot remove the sign of the holder of a collection");
                    }
                }
            });
        }
    }
}
