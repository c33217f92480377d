//! [`Batch`]: announcement of removals that are going on.

use super::{
    mark::{self, Kind, Mark},
    state::now,
};
use crate::{
    bucket::{Bucket, RETRY_AFTER, StoreTime},
    keys,
    nonce::nonce,
};
use futures_util::{TryStreamExt as _, future::try_join_all};
use registry_core::storage::{Result, StorageError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// Time for which a request waits for the end of a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(200);

/// Number of announcements that are read at once.
const PARALLEL: usize = 16;

/// Removals of items of one kind. None of their requests takes effect after a time of the store's clock, so that the
/// announcement ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    key: String,
    kind: Kind,
    /// Time after which nothing is removed, in seconds.
    until: u64,
}

impl Batch {
    /// Announces removals, of which no request takes effect after `until`. Without that time, the announcement ends when it is
    /// [finished](Self::finish).
    pub(crate) async fn announce(
        bucket: &Bucket,
        epoch: u64,
        kind: Kind,
        until: Option<StoreTime>,
        marks: &[Mark],
    ) -> Result<Self> {
        let until = until.map_or(u64::MAX, seconds);
        let name = format!("{until}-{}-{}", kind.as_str(), nonce()?);
        let key = format!("{}/{name}", keys::batches(epoch));
        bucket.put(&key, mark::to_bytes(marks)).await?;
        Ok(Self { key, kind, until })
    }

    /// Removes the announcement of a batch that has removed everything, if it does not end by itself.
    pub(crate) async fn finish(&self, bucket: &Bucket) -> Result<()> {
        match self.until {
            u64::MAX => bucket.delete(&self.key).await,
            _ => Ok(()),
        }
    }

    /// Returns the time after which nothing is removed any more in an epoch, if that has not passed.
    pub(crate) async fn last(bucket: &Bucket, epoch: u64) -> Result<Option<StoreTime>> {
        let open = Self::open(bucket, epoch).await?;
        // Those without a time were removed by a process that has ended.
        let last = open.into_iter().map(|batch| batch.until);
        let last = last.filter(|until| *until < u64::MAX).max();
        Ok(last.map(|last| StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(last))))
    }

    /// Lists the batches that may be removing something.
    async fn open(bucket: &Bucket, epoch: u64) -> Result<Vec<Self>> {
        let listed: Vec<_> = bucket.list(&keys::batches(epoch)).try_collect().await?;
        let batches = listed.into_iter().filter_map(|meta| Self::parse(meta.key));
        let now = seconds(now(bucket));
        Ok(batches.filter(|batch| now <= batch.until).collect())
    }

    fn parse(key: String) -> Option<Self> {
        let (_, name) = key.rsplit_once('/')?;
        let mut parts = name.split('-');
        let (until, kind) = (parts.next()?.parse().ok()?, Kind::parse(parts.next()?)?);
        Some(Self { key, kind, until })
    }

    /// Returns true if one of these items is among the removals.
    async fn has(&self, bucket: &Bucket, marks: &[Mark]) -> Result<bool> {
        // It has gone if it is over.
        let Some(object) = bucket.get(&self.key).await? else {
            return Ok(false);
        };
        let dying = mark::from_bytes(&object.bytes).ok_or_else(|| {
            let message = format!("the record {} of a collection is damaged", self.key);
            StorageError::unavailable(message, Some(RETRY_AFTER), None)
        })?;
        Ok(marks.iter().any(|mark| dying.contains(mark)))
    }
}

/// Waits until none of these items is being removed.
pub(super) async fn wait(bucket: &Bucket, epoch: u64, marks: &[Mark]) -> Result<()> {
    let began = Instant::now();
    while is_any_dying(bucket, epoch, marks).await? {
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

/// Returns true if one of these items is being removed.
pub(super) async fn is_any_dying(bucket: &Bucket, epoch: u64, marks: &[Mark]) -> Result<bool> {
    let open = Batch::open(bucket, epoch).await?;
    let is_of_kind = |batch: &&Batch| marks.iter().any(|mark| mark.kind() == batch.kind);
    let open: Vec<&Batch> = open.iter().filter(is_of_kind).collect();
    for batches in open.chunks(PARALLEL) {
        let looks = batches.iter().map(|batch| batch.has(bucket, marks));
        if try_join_all(looks).await?.contains(&true) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn seconds(time: StoreTime) -> u64 {
    time.since(StoreTime::of(UNIX_EPOCH)).as_secs()
}
