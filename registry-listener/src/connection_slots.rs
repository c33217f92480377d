//! [`ConnectionSlots`]: the slots for connections, and the choice of the one that is closed when all are taken.
//!
//! A connection costs nothing to open and little to keep. If no slot is free, a new connection gets the slot of the
//! one that has been idle longest. If none is idle, one that waits for its client in the middle of a request gives
//! way. Otherwise a client that keeps enough connections open would lock out all others. A connection that owes its
//! client an answer keeps its slot.

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

/// Minimum time for which a connection is idle before it gives way: its first or next byte may be in transit.
const RESPITE: Duration = Duration::from_secs(1);
/// Minimum time for which a client has been awaited, to send more of a request or receive more of an answer, before
/// its connection gives way.
const PATIENCE: Duration = Duration::from_secs(5);

/// The use of a connection after the first request.
pub(super) trait Occupant: Debug + Send + Sync {
    /// Returns the wait, if nothing can continue without the client.
    fn waits(&self) -> Option<Waits>;

    /// Gives up the slot, if nothing has happened since then. Returns the permit that another connection needs.
    fn give_way(&self, since: Instant) -> Option<OwnedSemaphorePermit>;
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

    /// Takes a slot for a new connection, possibly one whose client is idle. `None` if all are busy.
    pub(super) fn take(&mut self) -> Option<Arc<ConnectionSlot>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room()?,
        };
        // At most every so many connections, so that each pays for one look at one slot.
        if self.taken.len() >= self.limit.saturating_mul(2) {
            self.taken.retain(|slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(ConnectionSlot::new(Some(permit)));
        self.taken.push(Arc::downgrade(&slot));
        Some(slot)
    }

    fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        let idle = self.longest_idle().and_then(|slot| slot.give_way());
        idle.or_else(|| self.heaviest_waiting())
    }

    /// Ends the connection that holds the most memory while it waits for its client.
    fn heaviest_waiting(&self) -> Option<OwnedSemaphorePermit> {
        let since = Instant::now().checked_sub(PATIENCE)?;
        let waiting = self.taken.iter().filter_map(|slot| {
            let occupant = slot.upgrade()?.occupant.get()?.upgrade()?;
            let waits = occupant.waits().filter(|waits| waits.since <= since)?;
            Some((waits, occupant))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(waits, _)| (Reverse(waits.holds), waits.since));
        waiting.iter().find_map(|(_, occupant)| occupant.give_way(since))
    }

    /// Returns the slot that has been idle longest. Reads all of them, which is done only if none is free.
    fn longest_idle(&self) -> Option<Arc<ConnectionSlot>> {
        let longest = self.taken.iter().filter_map(|slot| {
            let slot = slot.upgrade()?;
            let since = slot.state().idle?;
            Some((since, slot))
        });
        let (since, slot) = longest.min_by_key(|(since, _)| *since)?;
        (since.elapsed() >= RESPITE).then_some(slot)
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
    /// True if the slot was given to another connection, or given up.
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

    /// Returns the slot of a connection that is only open to be refused. No other connection can take it.
    pub(super) fn to_be_refused() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the occupant that is asked for the slot while it is not idle.
    pub(super) fn occupied_by(&self, occupant: Weak<dyn Occupant>) {
        // A connection has one protocol.
        _ = self.occupant.set(occupant);
    }

    /// Records a request: from now on the connection keeps its slot. Returns false if the slot is lost already; then
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

    /// Waits until the slot has been given to another connection.
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

    /// Gives up the slot, unless a request has just arrived. Returns the permit that another connection needs.
    fn give_way(&self) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        state.idle.take()?;
        self.lose(&mut state)
    }

    /// Gives up the slot. Returns the permit that another connection needs.
    pub(super) fn surrender(&self) -> Option<OwnedSemaphorePermit> {
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
    async fn the_one_that_is_idle_longest_gives_way() {
        let mut slots = ConnectionSlots::new(3);
        let busy = slots.take().unwrap();
        assert!(busy.busy());
        advance(RESPITE).await;
        let silent = slots.take().unwrap();
        advance(RESPITE / 2).await;
        let answered = slots.take().unwrap();
        assert!(answered.busy());
        answered.idle();
        assert!(slots.take().is_none(), "neither has been idle for long");

        advance(RESPITE / 2).await;
        let first = slots.take().unwrap();
        silent.lost().await;
        assert!(!silent.busy(), "what arrives now is too late");
        assert!(slots.take().is_none());

        advance(RESPITE / 2).await;
        let second = slots.take().unwrap();
        answered.lost().await;
        assert!(busy.busy() && first.busy() && second.busy());
        advance(RESPITE * 2).await;
        assert!(slots.take().is_none(), "all are busy");
        second.leave();
        assert!(slots.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_that_came_first_keeps_the_place() {
        let mut slots = ConnectionSlots::new(1);
        let slot = slots.take().unwrap();
        advance(RESPITE).await;
        let found = slots.longest_idle().unwrap();
        assert!(slot.busy());

        assert!(found.give_way().is_none());
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

        fn give_way(&self, since: Instant) -> Option<OwnedSemaphorePermit> {
            self.waits().filter(|waits| waits.since <= since)?;
            self.0.surrender()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_wait_for_their_clients_the_heaviest_gives_way() {
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
            // An answer is owed.
            None,
        ];
        let _occupants: Vec<_> = taken
            .iter()
            .zip(kinds)
            .map(|(slot, waits)| Holding::of(slot, waits))
            .collect();

        advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(slots.take().is_none(), "none has waited for long");
        advance(Duration::from_secs(2)).await;
        let mut new = Vec::new();
        for gives_way in [2, 1, 0] {
            let slot = slots.take().unwrap();
            assert!(slot.busy());
            new.push(slot);
            taken[gives_way].lost().await;
            assert!(!taken[gives_way].busy());
        }
        assert!(
            slots.take().is_none(),
            "one has not waited for long, and one is owed an answer"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_have_left_are_forgotten() {
        let mut slots = ConnectionSlots::new(4);
        for _ in 0..100 {
            drop(slots.take().unwrap());
        }
        assert!(slots.taken.len() <= 8);
    }
}
