//! [`State`]: the one record that says what a collection is doing, and who drives it.
//!
//! Each change is an entry of a numbered log where a store has no updates. A process lists the log once, and then reads the
//! entry that it knows and the numbers after it, which does not depend on a listing. Entries are never removed: a number that
//! is free again could be taken by a change that lands late. A run makes 2 of them, and 1 for each list, which has up to
//! 65,536 items. So with a run each day, there are about 1,100 after a year, of 300 bytes each, and the first look of a process
//! takes 2 listings.

use crate::{
    bucket::{Bucket, Condition, Fence, RETRY_AFTER, Sent, StoreTime, Version},
    keys,
    nonce::nonce,
    rung::Rung,
};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, try_join};
use registry_core::storage::{Result, StorageError};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Validity of a change of the record.
const VALID: Duration = Duration::from_secs(60);

/// Time after that for which a change without an answer is looked for. One that arrives later changes nothing that
/// anybody relies on: it still finds the state that it was made for.
const ACTING: Duration = Duration::from_secs(60);

/// Time for which a change is sent again that the store refuses although nobody has changed the record.
const CONTENDED: Duration = Duration::from_secs(5);

/// Time after which such a change is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// Time between two looks at a record whose change has no answer.
const STEP: Duration = Duration::from_secs(1);

/// Number of changes that are sent until it is the store's fault that none has arrived in time.
const TRIES: usize = 3;

/// State of the collection of a bucket. It is moved by compare-and-swap, and no content of it ever repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) struct State {
    /// Number of the collection. It grows when one ends.
    pub(crate) epoch: u64,
    /// Random text of this change.
    pub(crate) change: String,
    /// The run that drives the collection, or `None` between two of them.
    pub(crate) holder: Option<String>,
    /// Names of the lists of condemned items. Lists are never overwritten.
    pub(crate) lists: Vec<String>,
    /// Time of the store's clock before which all lists were published, in seconds, if the record has changed since.
    pub(crate) listed: Option<u64>,
    /// Counts that the last complete run ended with.
    pub(crate) census: Option<Count>,
}

/// Counts at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Count {
    pub(crate) manifests: u64,
    pub(crate) complete: bool,
}

/// A state as it was read, with what is needed to change it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) state: State,
    /// Time of the change by the store's clock.
    pub(crate) modified: StoreTime,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Absent,
    Object(Version),
    /// Entry of the log.
    Entry(u64),
}

/// Number of the newest entry of the log that a process has read.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// Number after it.
    next: AtomicU64,
}

impl Newest {
    fn number(&self) -> Option<u64> {
        self.next.load(Ordering::Acquire).checked_sub(1)
    }

    fn learn(&self, number: u64) {
        self.next.fetch_max(number + 1, Ordering::AcqRel);
    }
}

impl Stored {
    /// Returns true if the bucket has a state.
    pub(crate) fn exists(&self) -> bool {
        !matches!(self.place, Place::Absent)
    }

    /// Reads the state. A process passes what it has read before.
    pub(crate) async fn load(bucket: &Bucket, rung: Rung, newest: &Newest) -> Result<Self> {
        match rung {
            Rung::Conditional | Rung::Sole => {
                let Some(object) = bucket.get(keys::COLLECTION).await? else {
                    return Ok(Self::absent(bucket));
                };
                Ok(Self {
                    state: parse(keys::COLLECTION, &object.bytes)?,
                    modified: StoreTime::of(object.modified),
                    place: Place::Object(object.version),
                })
            }
            Rung::Log => {
                let known = match newest.number() {
                    Some(known) => Some(known),
                    None => last_listed(bucket).await?,
                };
                let found = Self::newest(bucket, known).await?;
                if let Place::Entry(number) = found.place {
                    newest.learn(number);
                }
                Ok(found)
            }
        }
    }

    /// Reads the newest entry of the log, from one on that is there. A listing may lack it; but entries are never removed, so
    /// a look for the next number tells.
    pub(super) async fn newest(bucket: &Bucket, known: Option<u64>) -> Result<Self> {
        let (mut found, mut newer) = match known {
            Some(last) => {
                let both = try_join!(Self::entry(bucket, last), Self::entry(bucket, last + 1));
                let (found, newer) = both?;
                (found.ok_or_else(|| gone(last))?, newer)
            }
            None => (Self::absent(bucket), Self::entry(bucket, 0).await?),
        };
        while let Some(next) = newer {
            newer = match next.place {
                Place::Entry(number) => Self::entry(bucket, number + 1).await?,
                _ => None,
            };
            found = next;
        }
        Ok(found)
    }

    /// Reads the state as it is now.
    async fn reload(&self, bucket: &Bucket, rung: Rung) -> Result<Self> {
        let newest = Newest::default();
        if let Place::Entry(number) = self.place {
            newest.learn(number);
        }
        Self::load(bucket, rung, &newest).await
    }

    /// Reads an entry of the log.
    async fn entry(bucket: &Bucket, number: u64) -> Result<Option<Self>> {
        let key = keys::collection_entry(number);
        let Some(object) = bucket.get(&key).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            state: parse(&key, &object.bytes)?,
            modified: StoreTime::of(object.modified),
            place: Place::Entry(number),
        }))
    }

    fn absent(bucket: &Bucket) -> Self {
        Self {
            state: State::default(),
            modified: now(bucket),
            place: Place::Absent,
        }
    }

    /// Changes the state unless somebody else has changed it. Returns `None` then.
    pub(crate) async fn change(
        &self,
        bucket: &Bucket,
        rung: Rung,
        change: impl FnOnce(&mut State),
    ) -> Result<Option<Self>> {
        let mut state = self.state.clone();
        change(&mut state);
        state.change = nonce()?;
        let bytes = serde_json::to_vec(&state)
            .map(Bytes::from)
            .map_err(|error| StorageError::failed("cannot write the state of a collection", error))?;
        let (key, condition) = match (&self.place, rung) {
            (Place::Object(version), Rung::Conditional) => {
                (keys::COLLECTION.to_owned(), Condition::Is(version.clone()))
            }
            (_, Rung::Conditional) => (keys::COLLECTION.to_owned(), Condition::Absent),
            (_, Rung::Sole) => (keys::COLLECTION.to_owned(), Condition::Any),
            (Place::Entry(last), Rung::Log) => (keys::collection_entry(last + 1), Condition::Absent),
            (_, Rung::Log) => (keys::collection_entry(0), Condition::Absent),
        };
        let (began, mut tries) = (Instant::now(), 0);
        while tries < TRIES {
            tries += 1;
            let fence = Fence {
                told: now(bucket),
                valid: VALID,
            };
            let sent = bucket
                .put_once(&key, bytes.clone(), &condition, Some(fence))
                .await?;
            if sent == Sent::Expired {
                continue;
            }
            loop {
                let found = self.reload(bucket, rung).await?;
                if found.state == state {
                    return Ok(Some(found));
                }
                if found.state != self.state {
                    return Ok(None);
                }
                // Some stores refuse a change while another one is under way, also if that comes to nothing.
                if sent == Sent::Refused {
                    if began.elapsed() >= CONTENDED {
                        return Ok(None);
                    }
                    tries -= 1;
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
                // Its answer was lost: it can still arrive.
                if now(bucket) > fence.expires().after(ACTING) {
                    break;
                }
                tokio::time::sleep(STEP).await;
            }
        }
        Err(StorageError::unavailable(
            "the object store takes no change of the state of a collection in time",
            Some(RETRY_AFTER),
            None,
        ))
    }
}

/// Returns the greatest number of an entry that a listing shows.
async fn last_listed(bucket: &Bucket) -> Result<Option<u64>> {
    let listed: Vec<_> = bucket.list(keys::COLLECTIONS).try_collect().await?;
    let numbers = listed.iter().filter_map(|meta| {
        let (_, number) = meta.key.rsplit_once('/')?;
        keys::number(number)
    });
    Ok(numbers.max())
}

/// Returns the time of the store's clock.
pub(crate) fn now(bucket: &Bucket) -> StoreTime {
    let told = bucket.observed().latest();
    // Memory has no clock of its own.
    told.unwrap_or_else(|| StoreTime::of(SystemTime::now()))
}

fn parse(key: &str, bytes: &[u8]) -> Result<State> {
    let damaged = |error| {
        let message = format!(
            "the state {key} of collections is damaged, so nothing can be pushed or removed: stop all servers and commands that \
             use the bucket, remove this object, and start them again 15 minutes later. What a collection has announced is \
             forgotten; the next one announces it anew"
        );
        StorageError::unavailable(message, Some(RETRY_AFTER), error)
    };
    let state: State = serde_json::from_slice(bytes).map_err(|error| damaged(Some(error.into())))?;
    if state.epoch > keys::GREATEST {
        return Err(damaged(None));
    }
    Ok(state)
}

fn gone(number: u64) -> StorageError {
    let key = keys::collection_entry(number);
    let message = format!("the state {key} of collections was there and cannot be read");
    StorageError::unavailable(message, Some(RETRY_AFTER), None)
}
