//! [`Batch`]: announcement of removals that are going on.
//!
//! The announcements of an epoch are a numbered log, whose entries are created once and stay until the epoch is over. A look
//! reads the number after the last one that this process has read, and is exact: it does not depend on a listing. The
//! listing beside it tells how far the log goes, and contradicts a proxy that answers 404 in the store's place.
//!
//! Cost of a look: a GET and a LIST in parallel, and a GET for each announcement that is new to this process.

use super::{
    mark::{self, Mark},
    state::now,
};
use crate::{
    bucket::{Bucket, Condition, RETRY_AFTER, Sent, StoreTime},
    keys,
    nonce::nonce,
    rung::Rung,
};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::try_join_all};
use registry_core::storage::{Result, StorageError};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::Instant;

/// Time for which a request waits for the end of a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(200);

/// Number of announcements that are read at once.
const PARALLEL: u64 = 16;

/// Number of times that an announcement is sent until it is the store's fault that it has no answer.
const TRIES: usize = 10;

/// Removals of items of one kind. None of their requests takes effect after a time of the store's clock, so that the
/// announcement ends by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    number: u64,
    /// Time after which nothing is removed, in seconds.
    until: u64,
    /// Tells two announcements of the same removals apart.
    nonce: String,
    marks: Vec<Mark>,
}

/// The announcements of an epoch, as far as this process has read them.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    seen: Mutex<Seen>,
    /// Held while announcements are read, so that one request reads them for all.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    /// Number after the last one that was read.
    next: u64,
    /// The ones that may be removing something.
    open: Vec<Arc<Batch>>,
}

impl Batch {
    /// Writes it as bytes: a line of text, and the marks.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = format!("{} {}\n", self.until, self.nonce).into_bytes();
        bytes.extend(mark::to_bytes(&self.marks));
        bytes.into()
    }

    fn parse(number: u64, bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = bytes.split_at_checked(end)?;
        let (until, nonce) = str::from_utf8(line).ok()?.split_once(' ')?;
        Some(Self {
            number,
            until: until.parse().ok()?,
            nonce: nonce.to_owned(),
            marks: mark::from_bytes(rest.get(1..)?)?,
        })
    }

    async fn read(bucket: &Bucket, epoch: u64, number: u64) -> Result<Option<Self>> {
        let key = keys::batch(epoch, number);
        let Some(object) = bucket.get(&key).await? else {
            return Ok(None);
        };
        let batch = Self::parse(number, &object.bytes).ok_or_else(|| {
            let message = format!("the record {key} of a collection is damaged");
            StorageError::unavailable(message, Some(RETRY_AFTER), None)
        })?;
        Ok(Some(batch))
    }

    /// Returns true if it may be removing something.
    fn is_open(&self, now: StoreTime) -> bool {
        seconds(now) <= self.until
    }

    /// Removes the announcement of a batch that has removed everything, if it does not end by itself.
    pub(crate) async fn finish(&self, bucket: &Bucket, batches: &Batches, epoch: u64) -> Result<()> {
        if self.until < u64::MAX {
            return Ok(());
        }
        let over = Self {
            number: self.number,
            until: 0,
            nonce: self.nonce.clone(),
            marks: Vec::new(),
        };
        bucket
            .put(&keys::batch(epoch, self.number), over.to_bytes())
            .await?;
        batches.seen().open.retain(|open| **open != *self);
        Ok(())
    }
}

impl Batches {
    /// Announces removals, of which no request takes effect after `until`. Without that time, the announcement ends when it is
    /// [finished](Batch::finish).
    pub(crate) async fn announce(
        &self,
        bucket: &Bucket,
        rung: Rung,
        epoch: u64,
        until: Option<StoreTime>,
        marks: &[Mark],
    ) -> Result<Arc<Batch>> {
        let mut batch = Batch {
            number: self.next(epoch),
            until: until.map_or(u64::MAX, seconds),
            nonce: nonce()?,
            marks: marks.to_vec(),
        };
        let condition = match rung {
            Rung::Conditional | Rung::Log => Condition::Absent,
            Rung::Sole => Condition::Any,
        };
        for tries in 0..TRIES {
            // A store without conditions would replace what is there.
            if tries > 0 || rung == Rung::Sole {
                self.catch_up(bucket, epoch).await?;
                let mine = self
                    .seen()
                    .open
                    .iter()
                    .find(|open| open.nonce == batch.nonce)
                    .cloned();
                // An answer was lost, and it had arrived.
                if let Some(mine) = mine {
                    return Ok(mine);
                }
                batch.number = self.next(epoch);
            }
            let key = keys::batch(epoch, batch.number);
            let sent = bucket.put_once(&key, batch.to_bytes(), &condition, None).await?;
            if let Sent::Done(_) = sent {
                let batch = Arc::new(batch);
                self.add(epoch, vec![Arc::clone(&batch)]);
                return Ok(batch);
            }
        }
        Err(StorageError::unavailable(
            "the object store takes no announcement of removals",
            Some(RETRY_AFTER),
            None,
        ))
    }

    /// Waits until none of these items is being removed.
    pub(super) async fn wait(&self, bucket: &Bucket, epoch: u64, marks: &[Mark]) -> Result<()> {
        let began = Instant::now();
        while self.is_any_dying(bucket, epoch, marks).await? {
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
    pub(super) async fn is_any_dying(&self, bucket: &Bucket, epoch: u64, marks: &[Mark]) -> Result<bool> {
        let open = self.open(bucket, epoch).await?;
        Ok(open
            .iter()
            .any(|batch| batch.marks.iter().any(|mark| marks.contains(mark))))
    }

    /// Returns the time after which nothing is removed any more in an epoch, if that has not passed.
    pub(crate) async fn last(&self, bucket: &Bucket, epoch: u64) -> Result<Option<StoreTime>> {
        let open = self.open(bucket, epoch).await?;
        // Those without a time were removed by a process that has ended.
        let last = open.iter().map(|batch| batch.until);
        let last = last.filter(|until| *until < u64::MAX).max();
        Ok(last.map(|last| StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(last))))
    }

    /// Returns the batches that may be removing something.
    async fn open(&self, bucket: &Bucket, epoch: u64) -> Result<Vec<Arc<Batch>>> {
        self.catch_up(bucket, epoch).await?;
        let now = now(bucket);
        let mut seen = self.seen();
        // A later one has begun: this one is over, with all that it has removed.
        if seen.epoch != epoch {
            return Ok(Vec::new());
        }
        seen.open.retain(|batch| batch.is_open(now));
        Ok(seen.open.clone())
    }

    /// Reads all announcements that were made before the call.
    async fn catch_up(&self, bucket: &Bucket, epoch: u64) -> Result<()> {
        if self.seen().epoch > epoch {
            return Ok(());
        }
        let next = self.next(epoch);
        let first = Batch::read(bucket, epoch, next);
        let (first, listed) = futures_util::try_join!(first, last_listed(bucket, epoch))?;
        if first.is_none() && listed.is_none_or(|listed| listed < next) {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        loop {
            // One after the other beyond the listing, where the first one that is absent is the end.
            let next = self.next(epoch);
            let end = listed.unwrap_or(next).clamp(next, next + PARALLEL - 1);
            let reads = (next..=end).map(|number| Batch::read(bucket, epoch, number));
            let read: Vec<Option<Batch>> = try_join_all(reads).await?;
            let whole: Option<Vec<_>> = read.into_iter().map(|batch| batch.map(Arc::new)).collect();
            match (whole, listed) {
                (Some(batches), _) => self.add(epoch, batches),
                (None, Some(listed)) if next <= listed => {
                    let context = format!(
                        "the object store lists announcements of removals in {} that cannot be read",
                        keys::batches(epoch)
                    );
                    return Err(StorageError::unavailable(context, Some(RETRY_AFTER), None));
                }
                (None, _) => return Ok(()),
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, epoch: u64) -> u64 {
        let seen = self.seen();
        if seen.epoch == epoch { seen.next } else { 0 }
    }

    /// Adds announcements of successive numbers.
    fn add(&self, epoch: u64, batches: Vec<Arc<Batch>>) {
        let mut seen = self.seen();
        if epoch > seen.epoch {
            *seen = Seen {
                epoch,
                ..Seen::default()
            };
        }
        if epoch == seen.epoch {
            for batch in batches {
                if batch.number >= seen.next {
                    seen.next = batch.number + 1;
                    seen.open.push(batch);
                }
            }
        }
    }
}

/// Returns the greatest number that a listing shows.
async fn last_listed(bucket: &Bucket, epoch: u64) -> Result<Option<u64>> {
    let listed: Vec<_> = bucket.list(&keys::batches(epoch)).try_collect().await?;
    let numbers = listed.iter().filter_map(|meta| {
        let (_, number) = meta.key.rsplit_once('/')?;
        number.parse().ok()
    });
    Ok(numbers.max())
}

fn seconds(time: StoreTime) -> u64 {
    time.since(StoreTime::of(UNIX_EPOCH)).as_secs()
}
