//! [`Lease`]: the best-effort refusal of a second replica, for stores that keep no preconditions.
//!
//! The holder renews a record while it writes. A process that opens the bucket watches the record: if it changes, somebody
//! is writing. Two processes that open it in the same moment, or a holder that was idle, are not kept apart for
//! certain: such a store cannot do that.

use crate::{
    bucket::{Bucket, Version},
    keys,
};
use bytes::Bytes;
use registry_core::storage::{Result, StorageError};
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// Time after which the holder renews the record, before its next write.
const RENEWAL: Duration = Duration::from_secs(10);

/// Time for which the record of a holder that still writes cannot stay as it is.
const SILENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at the record of another holder.
const PAUSE: Duration = Duration::from_secs(1);

/// The right to write to a bucket, as far as such a store can give it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Content of the record: who holds it.
    holder: String,
    /// Time of the last renewal.
    renewed: Mutex<Instant>,
}

impl Lease {
    /// Takes the lease, once no other holder has renewed it for a while.
    ///
    /// # Errors
    ///
    /// [`StorageError::Denied`] if another process writes to the bucket.
    pub(crate) async fn take(bucket: &Bucket, holder: String) -> Result<Self> {
        let mut seen: Option<Version> = None;
        let began = Instant::now();
        while let Some(found) = bucket.get(keys::WRITER).await? {
            if let Some(seen) = &seen
                && *seen != found.version
            {
                return Err(taken(&found.bytes));
            }
            if began.elapsed() >= SILENCE {
                break;
            }
            seen = Some(found.version);
            tokio::time::sleep(PAUSE).await;
        }
        let lease = Self {
            holder,
            renewed: Mutex::new(Instant::now()),
        };
        lease.write(bucket).await?;
        Ok(lease)
    }

    /// Makes sure that no other process has taken the lease. Called before each write.
    ///
    /// # Errors
    ///
    /// [`StorageError::Denied`] if one has.
    pub(crate) async fn check(&self, bucket: &Bucket) -> Result<()> {
        let mut renewed = self.renewed.lock().await;
        if renewed.elapsed() < RENEWAL {
            return Ok(());
        }
        if let Some(found) = bucket.get(keys::WRITER).await?
            && !self.is_mine(&found.bytes)
        {
            return Err(taken(&found.bytes));
        }
        self.write(bucket).await?;
        *renewed = Instant::now();
        Ok(())
    }

    /// Gives the lease back, so that the next process need not wait.
    pub(crate) async fn release(&self, bucket: &Bucket) -> Result<()> {
        match bucket.get(keys::WRITER).await? {
            Some(found) if self.is_mine(&found.bytes) => bucket.delete(keys::WRITER).await,
            _ => Ok(()),
        }
    }

    fn is_mine(&self, record: &[u8]) -> bool {
        let holder = record.split(|byte| *byte == b'\n').next();
        holder == Some(self.holder.as_bytes())
    }

    /// Writes other content each time, so that the version changes also where it is a digest of the content.
    async fn write(&self, bucket: &Bucket) -> Result<()> {
        let nonce = crate::nonce::nonce()?;
        let record = format!("{}\n{nonce}", self.holder);
        bucket.put(keys::WRITER, Bytes::from(record)).await
    }
}

fn taken(record: &[u8]) -> StorageError {
    let holder = String::from_utf8_lossy(record);
    let holder = holder.lines().next().unwrap_or_default();
    StorageError::denied(format!(
        "another process writes to the bucket: {holder}. The object store keeps no preconditions, so only one replica may \
         run: stop the other one, or use another store"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::{Asking, Location};

    fn bucket() -> Bucket {
        Location::memory().bucket("", &Asking::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_whose_holder_writes_is_refused() {
        let bucket = bucket();
        let first = Lease::take(&bucket, "first".to_owned()).await.unwrap();
        let busy = async {
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                first.check(&bucket).await.unwrap();
            }
        };
        let refused = tokio::select! {
            refused = Lease::take(&bucket, "second".to_owned()) => refused.unwrap_err(),
            () = busy => unreachable!("it writes for ever"),
        };
        assert!(matches!(&refused, StorageError::Denied { .. }), "{refused}");
        assert!(refused.to_string().contains("first"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_holder_loses_the_bucket_and_notices() {
        let bucket = bucket();
        let first = Lease::take(&bucket, "first".to_owned()).await.unwrap();
        let second = Lease::take(&bucket, "second".to_owned()).await.unwrap();
        let refused = first.check(&bucket).await.unwrap_err();
        assert!(refused.to_string().contains("second"), "{refused}");
        tokio::time::sleep(RENEWAL).await;
        second.check(&bucket).await.unwrap();
        first.release(&bucket).await.unwrap();
        assert!(
            bucket.get(keys::WRITER).await.unwrap().is_some(),
            "it is not the first one's"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_bucket_is_taken_at_once() {
        let bucket = bucket();
        let first = Lease::take(&bucket, "first".to_owned()).await.unwrap();
        first.release(&bucket).await.unwrap();
        let began = Instant::now();
        Lease::take(&bucket, "second".to_owned()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
