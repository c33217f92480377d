//! [`ConnectionSlots`]: the slots for connections, and the choice of the connection to evict if all are taken.
//!
//! A client can open connections at no cost, and keep them at little cost. If no slot is free, the connection that has
//! been idle longest is evicted for a new one. If none is idle, one is evicted that waits for its client in the middle of
//! a request. Otherwise a client that keeps enough connections open would lock out all others. A connection whose answer
//! is due is never evicted.

use std::{
    cmp::Reverse,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Minimum idle time of a connection before it may be evicted: its first or next byte may be in transit.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// Minimum time for which a connection has waited for its client, to send or receive more, before it may be evicted.
const MIN_WAIT: Duration = Duration::from_secs(5);

/// The use of a connection after the first request.
pub(super) trait Occupant: Debug + Send + Sync {
    /// Returns the wait, if nothing can continue without the client.
    fn waits(&self) -> Option<Waits>;

    /// Evicts the connection, if it has waited for its client since then. Returns its permit.
    fn evict(&self, since: Instant) -> Option<OwnedSemaphorePermit>;
}

/// A wait for the client, without which nothing on the connection continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) since: Instant,
    /// Approximate memory held during the wait, in bytes.
    pub(super) holds: usize,
}

#[derive(Debug)]
pub(super) struct ConnectionSlots {
    free: Arc<Semaphore>,
    limit: usize,
    /// Slots that are taken, and some that were.
    taken: Vec<Weak<ConnectionSlot>>,
}

impl ConnectionSlots {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            taken: Vec::new(),
        }
    }

    /// Takes a slot for a new connection, and evicts another one if necessary. Returns `None` if all are busy.
    pub(super) fn take(&mut self) -> Option<Arc<ConnectionSlot>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room()?,
        };
        // Once per `limit` connections or less often, so that the average cost per connection is constant.
        if self.taken.len() >= self.limit.saturating_mul(2) {
            self.taken.retain(|slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(ConnectionSlot::new(Some(permit)));
        self.taken.push(Arc::downgrade(&slot));
        Some(slot)
    }

    fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        let idle = self.longest_idle().and_then(|slot| slot.evict());
        idle.or_else(|| self.heaviest_waiting())
    }

    /// Evicts the connection that holds the most memory while it waits for its client.
    fn heaviest_waiting(&self) -> Option<OwnedSemaphorePermit> {
        let since = Instant::now().checked_sub(MIN_WAIT)?;
        let waiting = self.taken.iter().filter_map(|slot| {
            let occupant = slot.upgrade()?.occupant.get()?.upgrade()?;
            let waits = occupant.waits().filter(|waits| waits.since <= since)?;
            Some((waits, occupant))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(waits, _)| (Reverse(waits.holds), waits.since));
        waiting.iter().find_map(|(_, occupant)| occupant.evict(since))
    }

    /// Returns the slot that has been idle longest. Reads all slots, so it is called only if none is free.
    fn longest_idle(&self) -> Option<Arc<ConnectionSlot>> {
        let longest = self.taken.iter().filter_map(|slot| {
            let slot = slot.upgrade()?;
            let since = slot.state().idle?;
            Some((since, slot))
        });
        let (since, slot) = longest.min_by_key(|(since, _)| *since)?;
        (since.elapsed() >= MIN_IDLE).then_some(slot)
    }
}

/// The slot of an open connection.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    state: Mutex<State>,
    lost: Notify,
    /// Set after the first request.
    occupant: OnceLock<Weak<dyn Occupant>>,
}

#[derive(Debug)]
struct State {
    /// Time since which nothing is requested of the connection.
    idle: Option<Instant>,
    /// True if the connection was evicted or has ended.
    lost: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionSlot {
    /// Creates the slot of a connection that has sent nothing yet.
    fn new(permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            state: Mutex::new(State {
                idle: Some(Instant::now()),
                lost: false,
                permit,
            }),
            lost: Notify::new(),
            occupant: OnceLock::new(),
        }
    }

    /// Returns a slot for a connection that is refused. No other connection can take it.
    pub(super) fn to_be_refused() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the occupant, which decides about an eviction while the connection is not idle.
    pub(super) fn occupied_by(&self, occupant: Weak<dyn Occupant>) {
        // A connection has one protocol.
        _ = self.occupant.set(occupant);
    }

    /// Records a request: from now on the connection is not idle. Returns false if the slot is lost already. Then
    /// nothing may be begun.
    pub(super) fn busy(&self) -> bool {
        let mut state = self.state();
        state.idle = None;
        !state.lost
    }

    /// Records that all requests have been answered.
    pub(super) fn idle(&self) {
        let mut state = self.state();
        if !state.lost {
            state.idle.get_or_insert_with(Instant::now);
        }
    }

    /// Waits until the slot has been released for another connection.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Records that the connection has ended, even if a request of it continues.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.idle = None;
        state.lost = true;
        state.permit = None;
    }

    /// Evicts the connection, unless a request has just arrived. Returns its permit.
    fn evict(&self) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        state.idle.take()?;
        self.lose(&mut state)
    }

    /// Releases the slot. Returns its permit.
    pub(super) fn release(&self) -> Option<OwnedSemaphorePermit> {
        self.lose(&mut self.state())
    }

    fn lose(&self, state: &mut State) -> Option<OwnedSemaphorePermit> {
        let permit = state.permit.take()?;
        state.lost = true;
        self.lost.notify_one();
        Some(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_is_idle_longest_is_evicted() {
        let mut slots = ConnectionSlots::new(3);
        let busy = slots.take().unwrap();
        assert!(busy.busy());
        advance(MIN_IDLE).await;
        let silent = slots.take().unwrap();
        advance(MIN_IDLE / 2).await;
        let answered = slots.take().unwrap();
        assert!(answered.busy());
        answered.idle();
        assert!(slots.take().is_none(), "neither has been idle for long");

        advance(MIN_IDLE / 2).await;
        let first = slots.take().unwrap();
        silent.lost().await;
        assert!(!silent.busy(), "a request is too late now");
        assert!(slots.take().is_none());

        advance(MIN_IDLE / 2).await;
        let second = slots.take().unwrap();
        answered.lost().await;
        assert!(busy.busy() && first.busy() && second.busy());
        advance(MIN_IDLE * 2).await;
        assert!(slots.take().is_none(), "all are busy");
        second.leave();
        assert!(slots.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_came_first_keeps_the_slot() {
        let mut slots = ConnectionSlots::new(1);
        let slot = slots.take().unwrap();
        advance(MIN_IDLE).await;
        let found = slots.longest_idle().unwrap();
        assert!(slot.busy());

        assert!(found.evict().is_none());
        assert!(slot.busy());
    }

    /// Waits for its client since a given time and holds some memory, or does not wait.
    #[derive(Debug)]
    struct Holding(Arc<ConnectionSlot>, Option<Waits>);

    impl Holding {
        fn of(slot: &Arc<ConnectionSlot>, waits: Option<Waits>) -> Arc<dyn Occupant> {
            assert!(slot.busy());
            let occupant: Arc<dyn Occupant> = Arc::new(Self(Arc::clone(slot), waits));
            slot.occupied_by(Arc::downgrade(&occupant));
            occupant
        }
    }

    impl Occupant for Holding {
        fn waits(&self) -> Option<Waits> {
            self.1
        }

        fn evict(&self, since: Instant) -> Option<OwnedSemaphorePermit> {
            self.waits().filter(|waits| waits.since <= since)?;
            self.0.release()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_connections_that_wait_for_their_clients_the_heaviest_is_evicted() {
        let mut slots = ConnectionSlots::new(5);
        let taken: Vec<_> = (0..5).map(|_| slots.take().unwrap()).collect();
        let begun = Instant::now();
        let waits = |seconds, holds| {
            Some(Waits {
                since: begun + Duration::from_secs(seconds),
                holds,
            })
        };
        let kinds = [
            waits(0, 10),
            waits(1, 20),
            waits(0, 20),
            waits(3, 1000),
            // An answer is due.
            None,
        ];
        let _occupants: Vec<_> = taken
            .iter()
            .zip(kinds)
            .map(|(slot, waits)| Holding::of(slot, waits))
            .collect();

        advance(MIN_WAIT - Duration::from_millis(1)).await;
        assert!(slots.take().is_none(), "none has waited for long");
        advance(Duration::from_secs(2)).await;
        let mut new = Vec::new();
        for evicted in [2, 1, 0] {
            let slot = slots.take().unwrap();
            assert!(slot.busy());
            new.push(slot);
            taken[evicted].lost().await;
            assert!(!taken[evicted].busy());
        }
        assert!(
            slots.take().is_none(),
            "one has not waited for long, and the answer of one is due"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn ended_connections_take_no_memory() {
        let mut slots = ConnectionSlots::new(4);
        for _ in 0..100 {
            drop(slots.take().unwrap());
        }
        assert!(slots.taken.len() <= 8);
    }
}
