//! [`Batch`]: announcement of the removals that are going on.

use super::{
    mark::{self, LENGTH, Mark},
    state::now,
};
use crate::{
    bucket::{Bucket, RETRY_AFTER, StoreTime},
    keys,
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::storage::{Result, StorageError};
use std::{
    collections::BTreeSet,
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::Instant;

/// Time for which a request waits for the end of a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(200);

/// End of the key of the announcement.
const DYING: &str = ".dying";
/// End of the key of the sign that nothing of the batch is removed any more.
const DONE: &str = ".done";

/// A batch of removals. None of its requests is valid after a time of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) epoch: u64,
    pub(crate) name: String,
}

impl Batch {
    pub(crate) fn dying(&self) -> String {
        format!("{}/{}{DYING}", keys::batches(self.epoch), self.name)
    }

    pub(crate) fn done(&self) -> String {
        format!("{}/{}{DONE}", keys::batches(self.epoch), self.name)
    }

    /// Returns the content of the announcement.
    pub(crate) fn content(until: StoreTime, marks: &[Mark]) -> Bytes {
        let seconds = until.since(StoreTime::of(UNIX_EPOCH)).as_secs();
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend(mark::to_bytes(marks));
        bytes.into()
    }

    /// Lists the batches of an epoch that are not done.
    pub(crate) async fn open(bucket: &Bucket, epoch: u64) -> Result<Vec<Self>> {
        let directory = keys::batches(epoch);
        let listed: Vec<_> = bucket.list(&directory).try_collect().await?;
        let names = |end: &str| -> BTreeSet<String> {
            let keys = listed.iter().filter_map(|meta| meta.key.strip_suffix(end));
            keys.filter_map(|key| key.rsplit_once('/'))
                .map(|(_, name)| name.to_owned())
                .collect()
        };
        let open = &names(DYING) - &names(DONE);
        Ok(open.into_iter().map(|name| Self { epoch, name }).collect())
    }

    /// Returns the time until which requests of the batch are valid, and its items. `None` if it has gone, which
    /// happens after it is done.
    pub(crate) async fn read(&self, bucket: &Bucket) -> Result<Option<(StoreTime, Vec<Mark>)>> {
        let key = self.dying();
        let Some(object) = bucket.get(&key).await? else {
            return Ok(None);
        };
        let parsed = object
            .bytes
            .split_first_chunk::<LENGTH>()
            .and_then(|(until, rest)| {
                let until = UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*until)))?;
                Some((StoreTime::of(until), mark::from_bytes(rest)?))
            });
        parsed.map(Some).ok_or_else(|| {
            StorageError::unavailable(format!("the record {key} is damaged"), Some(RETRY_AFTER), None)
        })
    }
}

/// Waits until none of these items is being removed.
pub(super) async fn wait(bucket: &Bucket, epoch: u64, marks: &[Mark], lateness: Duration) -> Result<()> {
    let began = Instant::now();
    while is_dying(bucket, epoch, marks, lateness).await? {
        if began.elapsed() > PATIENCE {
            return Err(StorageError::unavailable(
                "the content is being removed at the moment",
                Some(RETRY_AFTER),
                None,
            ));
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

async fn is_dying(bucket: &Bucket, epoch: u64, marks: &[Mark], lateness: Duration) -> Result<bool> {
    for batch in Batch::open(bucket, epoch).await? {
        if let Some((until, dying)) = batch.read(bucket).await?
            && now(bucket) <= until.after(lateness)
            && marks.iter().any(|mark| dying.contains(mark))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
