//! Races: simultaneous conditional writes to one key, of which one may win.
//!
//! A store that looks first, and writes then, keeps each condition if nobody else comes in between. So the bodies of writes
//! are held back except for their last byte:
//!
//! - One write is overtaken by another one that begins later and ends earlier. A store that looks when a write begins lets
//!   both win, each time.
//! - Many writes end at the same moment. A store that looks when it has all bytes lets several win, sometimes.

use super::{
    kept::Kept,
    setting::{Trial, unanswered},
};
use crate::bucket::{Condition, Sent};
use bytes::Bytes;
use futures_util::future::join_all;
use registry_core::storage::Result;
use std::{pin::pin, time::Duration};
use tokio::time::Instant;

/// Number of simultaneous writers of a race.
const RACERS: usize = 16;

/// Number of them that remove the object, where that is part of the race.
const REMOVERS: usize = 6;

/// Least number of races of a kind.
const ROUNDS: usize = 6;

/// Number of races as long as the probe waits for its URLs to expire.
const MORE_ROUNDS: usize = 32;

/// Number of races with a store that accepts expired URLs. Such a store is often made for tests, and checks little.
const MOST_ROUNDS: usize = 96;

/// Time after which there are no more than [`ROUNDS`].
const LONG: Duration = Duration::from_secs(5);

/// Number of bytes that a racer writes.
const RACING: usize = 16 << 10;

/// Time in which all racers are ready.
const READY: Duration = Duration::from_secs(1);

/// Time in which a write overtakes another one. A store may also let it wait.
const OVERTAKING: Duration = Duration::from_secs(1);

/// Number of races in a row without a winner after which the probe fails.
const UNANSWERED: usize = 3;

/// Kind of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Race {
    /// Writers create one object.
    Create,
    /// Writers change one object.
    Update,
    /// Writers change one object, and others remove it.
    Delete,
}

/// Outcome of a race.
#[derive(Debug, Default)]
struct Raced {
    /// Number of writes that were done.
    written: usize,
    /// True if a removal was done.
    is_removed: bool,
}

impl Raced {
    fn is_done(sent: &Result<Sent>) -> bool {
        match sent {
            Ok(Sent::Done(_)) => true,
            // One request like it was answered before. Others may have been turned away, because they are many.
            Ok(Sent::Refused | Sent::Expired | Sent::Unclear) | Err(_) => false,
        }
    }

    fn add_write(&mut self, sent: &Result<Sent>) {
        self.written += usize::from(Self::is_done(sent));
    }

    /// Counts removals as one: some stores say that they have removed what is not there.
    fn add_removal(&mut self, sent: &Result<Sent>) {
        self.is_removed |= Self::is_done(sent);
    }

    const fn winners(&self) -> usize {
        self.written + self.is_removed as usize
    }
}

impl Trial<'_> {
    /// Lets writers race for one key after the other.
    pub(super) async fn races(&self, name: &str, race: Race) -> Result<Kept> {
        let raced = self
            .overtaken(&self.key(&format!("{name}-overtaken")), race)
            .await?;
        if let Some(found) = found(&raced, 2) {
            return Ok(found);
        }
        let began = Instant::now();
        let mut without_winner = 0;
        for round in 0..MOST_ROUNDS {
            let enough = match self.refuses_expired.get() {
                _ if began.elapsed() > LONG => ROUNDS,
                None => MORE_ROUNDS,
                Some(true) => ROUNDS,
                Some(false) => MOST_ROUNDS,
            };
            if round >= enough {
                break;
            }
            let raced = self.race(&self.key(&format!("{name}-{round}")), race).await?;
            if let Some(found) = found(&raced, RACERS) {
                return Ok(found);
            }
            without_winner = match raced.winners() {
                0 => without_winner + 1,
                _ => 0,
            };
            // Nobody has raced: the store, or something before it, takes no such requests.
            if without_winner == UNANSWERED {
                return Err(unanswered());
            }
        }
        Ok(Kept::Always)
    }

    async fn condition(&self, key: &str, race: Race) -> Result<Condition> {
        Ok(match race {
            Race::Create => Condition::Absent,
            Race::Update | Race::Delete => Condition::Is(self.version(key, "first").await?),
        })
    }

    /// Lets a write, or a removal, overtake a write that has begun.
    async fn overtaken(&self, key: &str, race: Race) -> Result<Raced> {
        let condition = &self.condition(key, race).await?;
        let (held, hold) = self.holding.hold();
        let slow = held.put_once(key, Bytes::from_static(b"slow"), condition, None);
        let overtaking = async {
            hold.reached(1, READY).await;
            // When the store has answered this, it has the beginning of the other one. It may have locked its key.
            let looked = self.bucket.head(&format!("{key}-other")).await;
            if let Err(error) = looked {
                hold.release();
                return Err(error);
            }
            let mut quick = pin!(async {
                match race {
                    Race::Delete => self.bucket.delete_once(key, condition, None).await,
                    Race::Create | Race::Update => self.put(key, "quick", condition).await,
                }
            });
            let in_time = tokio::time::timeout(OVERTAKING, &mut quick).await;
            hold.release();
            Ok(match in_time {
                Ok(sent) => sent,
                Err(_) => quick.await,
            })
        };
        let (slow, quick) = tokio::join!(slow, overtaking);
        let quick = quick?;
        let mut raced = Raced::default();
        raced.add_write(&slow);
        match race {
            Race::Delete => raced.add_removal(&quick),
            Race::Create | Race::Update => raced.add_write(&quick),
        }
        Ok(raced)
    }

    /// Sends conditional writes from all racers, and lets them end at once.
    async fn race(&self, key: &str, race: Race) -> Result<Raced> {
        let condition = &self.condition(key, race).await?;
        let removers = if race == Race::Delete { REMOVERS } else { 0 };
        let (held, hold) = self.holding.hold();
        let writes = join_all((removers..RACERS).map(|racer| {
            let text = format!("{racer:0RACING$}");
            held.put_once(key, text.into(), condition, None)
        }));
        let removals = async {
            hold.reached(RACERS - removers, READY).await;
            hold.release();
            let removal = |_| self.bucket.delete_once(key, condition, None);
            join_all((0..removers).map(removal)).await
        };
        let (writes, removals) = tokio::join!(writes, removals);
        let mut raced = Raced::default();
        writes.iter().for_each(|sent| raced.add_write(sent));
        removals.iter().for_each(|sent| raced.add_removal(sent));
        Ok(raced)
    }
}

/// Returns why a store does not keep its promise, if a race has shown that.
const fn found(raced: &Raced, racers: usize) -> Option<Kept> {
    match raced.winners() {
        // Without a winner, it may be one whose answer was lost.
        0 | 1 => None,
        winners => Some(Kept::Races { racers, winners }),
    }
}
