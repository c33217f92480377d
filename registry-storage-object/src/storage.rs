//! [`ObjectStorage`]: the public handle of a storage in a bucket.

use crate::{
    bucket::{Bucket, Dialect, refusal},
    kept_probe::{KeptProbe, agreed},
    keys,
    lease::Lease,
    location::{Asking, Location},
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

    /// Gives back what others would wait for: for half a minute the bucket, where only one process may write, and for four minutes
    /// the turn of a collection whose future was dropped. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// [`StorageError`](registry_core::storage::StorageError) if the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    pub async fn release(&self) -> Result<()> {
        // A run that ends may wait for minutes. The next one can begin meanwhile.
        let process = &self.store.gate.process;
        let removed = match process.sign() {
            Some(sign) => self.store.bucket.delete(&sign).await.map(|_| {
                process.has_removed_sign(&sign);
            }),
            None => Ok(()),
        };
        if let Some(lease) = &self.store.lease {
            lease.release(&self.store.bucket).await?;
        }
        removed
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

/// The same bucket, asked in two ways.
pub(crate) struct Buckets {
    /// For the opening: the store may have another address.
    pub(crate) opening: Bucket,
    /// For everything else.
    pub(crate) bucket: Bucket,
}

impl Buckets {
    pub(crate) fn of(options: &ObjectOptions, location: &Location) -> Result<Self> {
        let asking = Asking::default();
        let opening = location.bucket(&options.root, &asking)?;
        Ok(Self {
            bucket: match options.patience {
                Some(patience) => location.bucket(&options.root, &asking.patiently(patience))?,
                None => opening.clone(),
            },
            opening,
        })
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
        let buckets = Buckets::of(&self, &location)?;
        let process = location.process(&self.root);
        self.open_buckets(buckets, process).await.map_err(refusal)
    }

    async fn open_buckets(
        self,
        buckets: Buckets,
        process: Arc<Process>,
    ) -> Result<ObjectStorage, StorageError> {
        let Buckets { opening, bucket } = buckets;
        // Only a listing says if it is the bucket that does not exist.
        opening.any(keys::TOP).await?;
        if self.read_only {
            let storage = ObjectStorage::new(bucket, process, self, None, None);
            storage.store.learn_owner().await?;
            return Ok(storage);
        }
        let probe = match self.probed.clone() {
            Some(probe) => probe,
            None => probe_or_kept(&opening).await?,
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
        let bucket = location.bucket(&self.root, &Asking::default())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Remote;
    use http::StatusCode;
    use object_stores::proxy::{Fault, on_any};
    use std::time::Duration;

    #[tokio::test]
    async fn patience_outlasts_what_ends_the_requests_of_others() {
        let remote = Remote::start().await;
        let waited_for = remote.open(true).await;
        let patient = ObjectStorage::options().patience(Duration::from_secs(60));
        let patient = remote.open_with(patient, true).await;
        let away = || {
            let answer = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
            remote.proxy.fault(on_any().first(6), answer)
        };

        let rule = away();
        let failed = waited_for.store.bucket.head("key").await;
        assert!(
            matches!(failed, Err(StorageError::Unavailable { .. })),
            "{failed:?}"
        );
        rule.remove();

        let rule = away();
        assert!(patient.store.bucket.head("key").await.unwrap().is_none());
        assert_eq!(rule.happened(), 6);
        rule.remove();

        // An opening says at once that there is nothing.
        let rule = away();
        let options = ObjectStorage::options().patience(Duration::from_secs(60));
        let location: Location = crate::Gcs::new("bucket").key(remote.key()).into();
        let opened = options.open(location).await;
        assert!(
            matches!(opened, Err(StorageError::Unavailable { .. })),
            "{opened:?}"
        );
        rule.remove();
    }
}
