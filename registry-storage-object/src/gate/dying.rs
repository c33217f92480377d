//! [`Batch`]: announcement of removals that are going on.
//!
//! The announcements of an epoch are a numbered log, whose entries are created once and stay until the epoch is over. A look
//! reads the number after the last one that this process has read, and is exact: it does not depend on a listing. The
//! listing beside it tells how far the log goes, and contradicts a proxy that answers 404 in the store's place.
//!
//! An announcement ends by itself, because its removals expire. They expire by the clock of the node of the store that gets
//! them, so that two rules tell the end. Each is safe, and the one that comes first counts:
//!
//! - By the local clock, once this process has known it for as long as its removals may take, from before it was made until
//!   they have expired on all nodes. That time contains the greatest difference of the nodes' clocks. Once all removals were
//!   answered, no node has one that has not shown its clock, and the announcement is shortened to the difference seen. One
//!   whose collection stops, or has no answer, stays as it was.
//! - By the store's clock, once that has passed the end by the greatest difference.
//!
//! One that was damaged or removed is an error until it is older than any removal lasts.
//!
//! Not covered: a copy of an answered removal, made by a proxy, that gets to a node which the collection has never seen, after
//! all of that time, and whose clock is behind by the same.
//!
//! Cost of a look: a GET and a LIST of at most 1,000 keys in parallel, and a GET for each announcement that is new to this
//! process, or has one of the items that somebody else removes. The first look of a process in an epoch passes over the old
//! announcements: 1 LIST, and 1 for every 1,000 that are young.

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

/// Greatest time between two looks at batches that are waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// Number of announcements that are read at once.
const PARALLEL: usize = 16;

/// Age from which on an announcement is over, also if it cannot be read. No removal takes effect for as long: stores act on
/// late requests for up to two hours, and the rest is for their clocks.
const LONGEST: Duration = Duration::from_secs(3 * 60 * 60);

/// Number of times that an announcement is sent until it is the store's fault that it has no answer.
const TRIES: usize = 10;

/// End of the removals of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// None takes effect after a time of the clock of the node that gets it, nor for longer than this after the announcement.
    By(StoreTime, Duration),
    /// Not before it is changed.
    Open,
    /// It has come.
    Over,
}

impl End {
    fn seconds(self) -> (u64, u64) {
        match self {
            Self::By(until, lasts) => (seconds(until), lasts.as_secs() + 1),
            Self::Open => (u64::MAX, u64::MAX),
            Self::Over => (0, 0),
        }
    }
}

/// Removals of items of one kind.
#[derive(Debug)]
pub(crate) struct Batch {
    number: u64,
    /// Time of the store's clock after which nothing is removed, in seconds.
    until: u64,
    /// Time after the announcement after which nothing is removed, in seconds.
    lasts: u64,
    /// Local time at which this process has known it.
    known: Instant,
    /// True if this process has made it: nobody else changes it.
    is_own: bool,
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
    /// True if the old announcements were passed over.
    has_begun: bool,
    /// Number after the last one that was read.
    next: u64,
    /// The ones that may be removing something.
    open: Vec<Arc<Batch>>,
}

impl Batch {
    /// Writes it as bytes: a line of text, and the marks.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = format!("{} {} {}\n", self.until, self.lasts, self.nonce).into_bytes();
        bytes.extend(mark::to_bytes(&self.marks));
        bytes.into()
    }

    fn parse(number: u64, bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = bytes.split_at_checked(end)?;
        let mut words = str::from_utf8(line).ok()?.split(' ');
        Some(Self {
            number,
            until: words.next()?.parse().ok()?,
            lasts: words.next()?.parse().ok()?,
            known: Instant::now(),
            is_own: false,
            nonce: words.next()?.to_owned(),
            marks: mark::from_bytes(rest.get(1..)?)?,
        })
    }

    async fn read(bucket: &Bucket, epoch: u64, number: u64) -> Result<Option<Self>> {
        let key = keys::batch(epoch, number);
        let Some(object) = bucket.get(&key).await? else {
            return Ok(None);
        };
        match Self::parse(number, &object.bytes) {
            Some(batch) => Ok(Some(batch)),
            None if is_old(bucket, StoreTime::of(object.modified)) => Ok(Some(Self::over(number))),
            None => {
                let message = format!("the record {key} of a collection is damaged");
                Err(StorageError::unavailable(message, Some(RETRY_AFTER), None))
            }
        }
    }

    /// Returns one that is over, and whose items are not known.
    fn over(number: u64) -> Self {
        let (until, lasts) = End::Over.seconds();
        Self {
            number,
            until,
            lasts,
            known: Instant::now(),
            is_own: false,
            nonce: String::new(),
            marks: Vec::new(),
        }
    }

    /// Returns true if it may be removing something.
    fn is_open(&self, now: StoreTime, margin: Duration) -> bool {
        !self.ends()
            || (!self.left().is_zero() && seconds(now) <= self.until.saturating_add(margin.as_secs()))
    }

    /// Returns true if it ends by itself.
    const fn ends(&self) -> bool {
        self.until < u64::MAX
    }

    /// Returns the time until it ends by the local clock.
    fn left(&self) -> Duration {
        // Dates are in whole seconds.
        let lasts = Duration::from_secs(self.lasts.saturating_add(1));
        lasts.saturating_sub(self.known.elapsed())
    }

    /// Returns the same removals with another end.
    pub(super) fn with_end(&self, end: End) -> Self {
        let (until, lasts) = end.seconds();
        Self {
            number: self.number,
            until,
            lasts,
            known: self.known,
            is_own: self.is_own,
            nonce: self.nonce.clone(),
            marks: self.marks.clone(),
        }
    }
}

impl Batches {
    /// Announces removals.
    pub(crate) async fn announce(
        &self,
        bucket: &Bucket,
        rung: Rung,
        epoch: u64,
        end: End,
        marks: &[Mark],
    ) -> Result<Arc<Batch>> {
        let (until, lasts) = end.seconds();
        let mut batch = Batch {
            number: self.next(epoch),
            until,
            lasts,
            known: Instant::now(),
            is_own: true,
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
                batch.known = Instant::now();
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

    /// Changes the end of a batch to an earlier one.
    pub(super) async fn shorten(&self, bucket: &Bucket, epoch: u64, batch: &Batch, end: End) -> Result<()> {
        let shorter = batch.with_end(end);
        let key = keys::batch(epoch, batch.number);
        bucket.put(&key, shorter.to_bytes()).await?;
        self.replace(epoch, shorter);
        Ok(())
    }

    /// Waits until none of these items is being removed.
    pub(super) async fn wait(
        &self,
        bucket: &Bucket,
        epoch: u64,
        margin: Duration,
        marks: &[Mark],
    ) -> Result<()> {
        let began = Instant::now();
        while self.is_any_dying(bucket, epoch, margin, marks).await? {
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
    pub(super) async fn is_any_dying(
        &self,
        bucket: &Bucket,
        epoch: u64,
        margin: Duration,
        marks: &[Mark],
    ) -> Result<bool> {
        let has_any = |batch: &Batch| batch.marks.iter().any(|mark| marks.contains(mark));
        let open = self.open(bucket, epoch, margin).await?;
        let with_any = open.into_iter().filter(|batch| has_any(batch));
        self.read_again(bucket, epoch, with_any.collect()).await?;
        let open = self.open_ones(epoch, now(bucket), margin);
        Ok(open.iter().any(|batch| has_any(batch)))
    }

    /// Returns the number of announcements of an epoch.
    pub(crate) async fn number(&self, bucket: &Bucket, epoch: u64) -> Result<u64> {
        self.catch_up(bucket, epoch).await?;
        Ok(self.next(epoch))
    }

    /// Waits until the first `number` batches of an epoch are over.
    pub(super) async fn settle(
        &self,
        bucket: &Bucket,
        epoch: u64,
        margin: Duration,
        number: u64,
    ) -> Result<()> {
        loop {
            // The ones that do not end by themselves were announced by a process that has ended.
            let is_awaited = |batch: &&Arc<Batch>| batch.number < number && batch.ends();
            let open = self.open(bucket, epoch, margin).await?;
            let awaited = open.iter().filter(is_awaited).cloned();
            self.read_again(bucket, epoch, awaited.collect()).await?;
            let open = self.open_ones(epoch, now(bucket), margin);
            let first = open.iter().filter(is_awaited);
            match first.map(|batch| batch.left()).max() {
                Some(left) => tokio::time::sleep(left.clamp(STEP, PAUSE)).await,
                None => return Ok(()),
            }
        }
    }

    /// Returns the batches that may be removing something.
    async fn open(&self, bucket: &Bucket, epoch: u64, margin: Duration) -> Result<Vec<Arc<Batch>>> {
        self.catch_up(bucket, epoch).await?;
        Ok(self.open_ones(epoch, now(bucket), margin))
    }

    /// Reads announcements of others again, which may have been shortened.
    async fn read_again(&self, bucket: &Bucket, epoch: u64, mut batches: Vec<Arc<Batch>>) -> Result<()> {
        batches.retain(|batch| !batch.is_own);
        for batches in batches.chunks(PARALLEL) {
            let reads = batches
                .iter()
                .map(|batch| Batch::read(bucket, epoch, batch.number));
            for read in try_join_all(reads).await?.into_iter().flatten() {
                self.replace(epoch, read);
            }
        }
        Ok(())
    }

    fn replace(&self, epoch: u64, read: Batch) {
        let mut seen = self.seen();
        if seen.epoch != epoch {
            return;
        }
        if let Some(known) = seen.open.iter_mut().find(|open| open.number == read.number) {
            *known = Arc::new(Batch {
                known: known.known,
                ..read
            });
        }
    }

    /// Returns the batches that may be removing something, of those that were read.
    fn open_ones(&self, epoch: u64, now: StoreTime, margin: Duration) -> Vec<Arc<Batch>> {
        let mut seen = self.seen();
        // A later one has begun: this one is over, with all that it has removed.
        if seen.epoch != epoch {
            return Vec::new();
        }
        seen.open.retain(|batch| batch.is_open(now, margin));
        seen.open.clone()
    }

    /// Reads all announcements that were made before the call, except old ones.
    async fn catch_up(&self, bucket: &Bucket, epoch: u64) -> Result<()> {
        if self.seen().epoch > epoch {
            return Ok(());
        }
        self.pass_over_old(bucket, epoch).await?;
        loop {
            let next = self.next(epoch);
            let first = Batch::read(bucket, epoch, next);
            let (first, listed) = futures_util::try_join!(first, Listed::beside(bucket, epoch, next))?;
            if first.is_none() && listed.last.is_none_or(|last| last < next) {
                return Ok(());
            }
            let _reading = self.reading.lock().await;
            if !self.read_listed(bucket, epoch, &listed).await? {
                return Ok(());
            }
        }
    }

    /// Reads the announcements of a directory. Returns false if there are none beyond it.
    async fn read_listed(&self, bucket: &Bucket, epoch: u64, listed: &Listed) -> Result<bool> {
        loop {
            let next = self.next(epoch);
            if next >= listed.end {
                return Ok(true);
            }
            // One after the other beyond the listing, where the first one that is absent is the end.
            let end = listed
                .last
                .unwrap_or(next)
                .clamp(next, next + PARALLEL as u64 - 1);
            let reads = (next..=end).map(|number| Batch::read(bucket, epoch, number));
            let read: Vec<Option<Batch>> = try_join_all(reads).await?;
            // One that was made before an old one is over as well, whatever has become of it.
            let or_over = |(number, batch): (u64, Option<Batch>)| {
                let is_over = listed.last_old.is_some_and(|old| number < old);
                batch
                    .or_else(|| is_over.then(|| Batch::over(number)))
                    .map(Arc::new)
            };
            let whole: Option<Vec<_>> = (next..).zip(read).map(or_over).collect();
            match (whole, listed.last) {
                (Some(batches), _) => self.add(epoch, batches),
                (None, Some(last)) if next <= last => {
                    let context = format!(
                        "the object store lists announcements of removals in {} that cannot be read",
                        keys::batches(epoch)
                    );
                    return Err(StorageError::unavailable(context, Some(RETRY_AFTER), None));
                }
                (None, _) => return Ok(false),
            }
        }
    }

    /// Begins after the old announcements of an epoch, which are over.
    async fn pass_over_old(&self, bucket: &Bucket, epoch: u64) -> Result<()> {
        let has_begun = {
            let seen = self.seen();
            seen.epoch > epoch || (seen.epoch == epoch && (seen.has_begun || seen.next > 0))
        };
        if has_begun {
            return Ok(());
        }
        let directory = keys::batches(epoch);
        let directories = bucket.directory(&directory).await?.directories;
        let number = |key: &String| keys::number(keys::name_in(&directory, key)?);
        let mut numbers: Vec<u64> = directories.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let mut next = 0;
        while let Some(number) = numbers.pop() {
            let first = number.saturating_mul(keys::BATCHES_BESIDE);
            let listed = Listed::beside(bucket, epoch, first).await?;
            if let Some(old) = listed.last_old {
                next = old + 1;
                break;
            }
        }
        let mut seen = self.seen();
        if epoch > seen.epoch {
            *seen = Seen {
                epoch,
                ..Seen::default()
            };
        }
        if epoch == seen.epoch {
            seen.has_begun = true;
            seen.next = seen.next.max(next);
        }
        drop(seen);
        Ok(())
    }

    /// Returns the number of batches in memory.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.seen().open.len()
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
            // Whoever waits for one does it with the ones that are left.
            seen.open.retain(|open| !open.ends() || !open.left().is_zero());
            for batch in batches {
                if batch.number >= seen.next {
                    seen.next = batch.number + 1;
                    seen.open.push(batch);
                }
            }
        }
    }
}

/// Announcements in a directory, as a listing shows them.
#[derive(Debug)]
struct Listed {
    /// Number after the last one that belongs to the directory.
    end: u64,
    /// Greatest number.
    last: Option<u64>,
    /// Greatest number of an old one.
    last_old: Option<u64>,
}

impl Listed {
    /// Lists the directory of a number.
    async fn beside(bucket: &Bucket, epoch: u64, number: u64) -> Result<Self> {
        let (mut last, mut last_old) = (None, None);
        let mut listed = bucket.list(&keys::batches_beside(epoch, number));
        while let Some(meta) = listed.try_next().await? {
            let number = meta
                .key
                .rsplit_once('/')
                .and_then(|(_, number)| keys::number(number));
            last = last.max(number);
            if is_old(bucket, StoreTime::of(meta.modified)) {
                last_old = last_old.max(number);
            }
        }
        Ok(Self {
            end: (number / keys::BATCHES_BESIDE + 1).saturating_mul(keys::BATCHES_BESIDE),
            last,
            last_old,
        })
    }
}

/// Returns true if no removal can take effect any more that was announced before a time of the store's clock.
fn is_old(bucket: &Bucket, time: StoreTime) -> bool {
    now(bucket).since(time) > LONGEST
}

fn seconds(time: StoreTime) -> u64 {
    time.since(StoreTime::of(UNIX_EPOCH)).as_secs()
}
