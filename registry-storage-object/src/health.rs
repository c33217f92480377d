//! The plane for health checks. A bucket has no limit that is known.
//!
//! Requests of a check: 3, one after the other; 1 of a storage that is open for reading only.

use crate::{keys, nonce::nonce, storage::ObjectStorage, store::Store};
use async_trait::async_trait;
use registry_core::storage::{Result, Space, StorageError, StorageHealth};
use std::time::Duration;

/// Time for a check. A store that needs longer is not usable.
const LIMIT: Duration = Duration::from_secs(5);

#[async_trait]
impl StorageHealth for ObjectStorage {
    /// Writes a small object, reads it back and removes it. A storage that is open for reading only looks for one.
    async fn probe(&self) -> Result<()> {
        tokio::time::timeout(LIMIT, self.store.probe())
            .await
            .unwrap_or_else(|_| {
                let context = format!("the object store has not answered within {} s", LIMIT.as_secs());
                Err(StorageError::unavailable(context, None, None))
            })
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn accepts_uploads(&self) -> Result<()> {
        Ok(())
    }
}

impl Store {
    async fn probe(&self) -> Result<()> {
        const CONTENT: &str = "written by a health check\n";
        // One for each process: a check that fails in between leaves it, and the next one removes it.
        let key = match self.health_key.get() {
            Some(key) => key,
            None => {
                let key = format!("{}/health-{}", keys::PROBE, nonce()?);
                self.health_key.get_or_init(|| key)
            }
        };
        if self.options.read_only {
            return self.bucket.head(key).await.map(drop);
        }
        self.bucket.put(key, CONTENT).await?;
        let read = self.bucket.get(key).await?;
        self.bucket.delete(key).await?;
        match read {
            Some(read) if read.bytes == CONTENT => Ok(()),
            _ => Err(StorageError::internal(format!(
                "{key} has other content in the object store than was written to it"
            ))),
        }
    }
}
