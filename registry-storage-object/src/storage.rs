//! [`ObjectStorage`]: the public handle of a storage in a bucket.

use crate::{
    bucket::{Bucket, Dialect, refusal},
    kept_probe::{KeptProbe, agreed},
    keys,
    lease::Lease,
    location::Location,
    nonce::nonce,
    options::ObjectOptions,
    probe::kept::Probe,
    process::Process,
    store::Store,
};
use registry_core::storage::{Result, StorageError};
use std::{fmt, sync::Arc};

/// Storage in a bucket of an object store. Clones share one state.
#[derive(Clone)]
pub struct ObjectStorage {
    pub(crate) store: Arc<Store>,
}

impl ObjectStorage {
    /// Returns the default settings.
    #[must_use]
    pub fn options() -> ObjectOptions {
        ObjectOptions::new()
    }

    /// Gives the bucket back where only one process may write, so that the next one need not wait half a minute. Nothing may
    /// be written afterwards. Does nothing in other buckets.
    ///
    /// # Errors
    ///
    /// [`StorageError`](registry_core::storage::StorageError) if the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    pub async fn release(&self) -> Result<()> {
        match &self.store.lease {
            Some(lease) => lease.release(&self.store.bucket).await,
            None => Ok(()),
        }
    }

    /// Without a probe, nothing is written.
    pub(crate) fn new(
        bucket: Bucket,
        process: Arc<Process>,
        options: ObjectOptions,
        probe: Option<&Probe>,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            store: Arc::new(Store::new(bucket, process, options, probe, lease)),
        }
    }
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage")
            .field("bucket", &self.store.bucket)
            .finish_non_exhaustive()
    }
}

impl ObjectOptions {
    /// Opens the storage.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`] if the store cannot be reached; a later attempt may succeed.
    /// [`StorageError::Denied`] if it refuses: there is no such bucket, or not for these credentials. The message says what
    /// to change. Another [`StorageError`] if the location's settings do not fit together.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point. Keys of the probe may be left in the bucket; an opening an hour later removes them.
    pub async fn open(self, location: Location) -> Result<ObjectStorage, StorageError> {
        let (bucket, process) = (location.bucket(&self.root)?, location.process(&self.root));
        self.open_bucket(bucket, process).await.map_err(refusal)
    }

    async fn open_bucket(self, bucket: Bucket, process: Arc<Process>) -> Result<ObjectStorage, StorageError> {
        // Only a listing says if it is the bucket that does not exist.
        bucket.any(keys::TOP).await?;
        if self.read_only {
            let storage = ObjectStorage::new(bucket, process, self, None, None);
            storage.store.learn_owner().await?;
            return Ok(storage);
        }
        let probe = match self.probed.clone() {
            Some(probe) => probe,
            None => probe_or_kept(&bucket).await?,
        };
        probe.log();
        if !probe.supports_replicas() && !self.sole_replica {
            return Err(StorageError::denied(format!(
                "the object store does not keep preconditions, so replicas would lose each other's tags: declare that one \
                 replica runs (`storage.<driver>.replicas: 1`), or use another store\n{probe}"
            )));
        }
        let lease = match probe.rung() {
            Some(_) => None,
            None => Some(Lease::take(&bucket, format!("{}, {}", self.holder, nonce()?)).await?),
        };
        let storage = ObjectStorage::new(bucket, process, self, Some(&probe), lease);
        storage.store.learn_owner().await?;
        let store = &storage.store;
        if store.bucket.dialect() != Dialect::Memory {
            store.gate.establish(&store.bucket).await?;
        }
        Ok(storage)
    }

    /// Finds out what the object store can do, by trying it below a directory of its own, which it removes. Takes some
    /// seconds, because it waits until a signed URL expires. Openings take the result for a day. It replaces what earlier
    /// probes have found.
    ///
    /// # Errors
    ///
    /// The same errors as [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point. Keys below `docker/registry/v2/_probe` may be left in the bucket.
    pub async fn probe(&self, location: &Location) -> Result<Probe, StorageError> {
        let bucket = location.bucket(&self.root)?;
        let found = async {
            bucket.any(keys::TOP).await?;
            let probe = Probe::run(&bucket).await?;
            if let Some(record) = KeptProbe::of(&bucket).await? {
                record.write(&probe).await?;
            }
            Ok(probe)
        };
        found.await.map_err(refusal)
    }
}

async fn probe_or_kept(bucket: &Bucket) -> Result<Probe> {
    let record = KeptProbe::of(bucket).await?;
    if let Some(record) = &record
        && let Some(probe) = record.read().await
    {
        return Ok(probe);
    }
    let Some(record) = record else {
        return Probe::run(bucket).await;
    };
    // Before a probe removes old records.
    let earlier = record.read_earlier().await;
    let probe = agreed(Probe::run(bucket).await?, earlier)?;
    record.write(&probe).await?;
    Ok(probe)
}
