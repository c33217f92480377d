//! Begin of a run: it takes the state of the collection, also from a run that has stopped.

use super::heartbeat::Heartbeat;
use crate::{
    bucket::{RETRY_AFTER, StoreTime},
    gate::{Condemned, Stored, now},
    keys,
    nonce::nonce,
    process::Claim,
    run::{OpenRun, Work},
    store::Store,
};
use registry_core::storage::{Census, Result, Run, StorageError, Terms};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::{sync::Mutex, time::Instant};

/// Time that a run that goes on with older announcements may wait longer because of new ones.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Longest time for which a run waits for pushes that rely on what they were told before an announcement. Later, such a push is
/// refused once. A run holds the state while it waits, so that no other can begin.
const TOLD: Duration = Duration::from_secs(60 * 60);

/// Dropped with the run. The claim is given back last.
struct Guard {
    _heartbeat: Option<Heartbeat>,
    _claim: Claim,
}

impl Store {
    pub(crate) async fn begin_run(&self, terms: Terms) -> Result<Run> {
        if self.options.read_only {
            return Err(StorageError::ReadOnly);
        }
        let claim = self.gate.process.claim();
        let claim = claim.ok_or_else(|| StorageError::busy("a run of this process"))?;
        // What a run of this process was removing when it was dropped.
        let _removing = self.gate.process.removing.lock().await;
        let (bucket, rung, dead) = (&self.bucket, self.rung, self.gate.times.dead);
        let stored = self.gate.stored(bucket).await?;
        if let Some(holder) = &stored.state.holder
            && !self.gate.is_sole()
            && Heartbeat::is_alive(bucket, holder, dead).await?
        {
            let seconds = dead.as_secs();
            return Err(StorageError::busy(format!(
                "run {holder} of another process, which has given a sign less than {seconds} s ago; if it was stopped, try again when \
                 that time is over"
            )));
        }
        let holder = nonce()?;
        let heartbeat = match self.gate.is_sole() {
            true => None,
            false => Some(Heartbeat::begin(bucket, &self.gate.process, &holder, dead).await?),
        };
        let listed = seconds(stored.modified);
        let taken = stored.change(bucket, rung, |state| {
            state.holder = Some(holder);
            // The lists were published before. This change does not make them younger.
            let has_lists = !state.lists.is_empty();
            state.listed = has_lists.then(|| state.listed.unwrap_or(listed));
        });
        let taken = taken.await?;
        let stored = taken.ok_or_else(|| StorageError::busy("a run of another replica"))?;
        let (gone, number) = self.gone().await?;
        let (id, census) = (claim.id, stored.state.census);
        let open = self.opened(id, terms, stored, gone).await?;
        self.gate.process.open(open);
        let previous = census.map(|count| Census::new(count.manifests).with_complete(count.complete));
        Ok(Run::new(id, terms, previous).with_deleted(number).holding(Guard {
            _heartbeat: heartbeat,
            _claim: claim,
        }))
    }

    async fn opened(&self, id: u64, terms: Terms, stored: Stored, gone: BTreeSet<String>) -> Result<OpenRun> {
        let bucket = &self.bucket;
        let state = &stored.state;
        let condemned = Condemned::read(bucket, &state.lists, &Condemned::default()).await?;
        let condemned = condemned.ok_or_else(|| {
            let context = format!(
                "a list of condemned items below {} has gone, and the collection that published it has not ended, so nothing can be \
                 pushed or removed: stop all servers and commands that use the bucket, remove {}, and start them again 15 minutes \
                 later",
                keys::LISTS,
                keys::COLLECTION
            );
            StorageError::unavailable(context, Some(RETRY_AFTER), None)
        })?;
        // Removals of the earlier holder may be on their way.
        let settles = self.gate.process.batches.number(bucket, state.epoch).await?;
        let delay = terms.grace.min(TOLD).max(self.gate.delay());
        let left = match state.listed {
            Some(listed) => delay.saturating_sub(now(bucket).since(since_epoch(listed))),
            None => Duration::ZERO,
        };
        let is_closed = !condemned.is_empty() && left + PATIENCE < delay;
        Ok(OpenRun {
            id,
            terms,
            delay,
            gone,
            work: Mutex::new(Work {
                condemned,
                ripe: Instant::now() + left,
                is_closed,
                settles: Some(settles),
                subjects: BTreeMap::new(),
                needs: BTreeMap::new(),
                noted: Vec::new(),
                lists: 0,
                stored,
            }),
        })
    }

    /// Returns an open run.
    pub(crate) fn open_run(&self, run: &Run) -> Result<Arc<OpenRun>> {
        let open = self.gate.process.run(run.id);
        open.ok_or_else(|| StorageError::internal(format!("run {} has ended", run.id)))
    }

    /// Waits until no removal of an earlier holder can take effect any more.
    pub(super) async fn settle(&self, work: &mut Work) -> Result<()> {
        if let Some(settles) = work.settles {
            let epoch = work.stored.state.epoch;
            self.gate.settle(&self.bucket, epoch, settles).await?;
            work.settles = None;
        }
        Ok(())
    }

    /// Makes sure that nobody has taken over.
    pub(super) async fn still_held(&self, work: &Work) -> Result<()> {
        let stored = self.gate.stored(&self.bucket).await?;
        match stored.state == work.stored.state {
            true => Ok(()),
            false => Err(taken_over()),
        }
    }
}

pub(super) fn taken_over() -> StorageError {
    StorageError::busy("a run of another replica, which has taken over")
}

fn seconds(time: StoreTime) -> u64 {
    time.since(StoreTime::of(UNIX_EPOCH)).as_secs()
}

fn since_epoch(seconds: u64) -> StoreTime {
    StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(seconds))
}
