//! [`Places`]: how many connections there may be, and which one gives way when there are too many.
//!
//! A connection costs nothing to open and little to keep. So when no place is free, a new one gets that of the one
//! that has been idle longest, or, where none is idle, of one that waits for its client in the middle of something:
//! otherwise whoever keeps enough of them open locks everybody else out. Who is owed an answer keeps the place.

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

/// How long a connection is idle at least before it gives way: the first or next byte may be on its way.
const RESPITE: Duration = Duration::from_secs(1);
/// How long a client has been waited for at least, to send more of a request or take more of an answer, before its
/// connection gives way.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection is there for, once something has been asked.
pub(super) trait Occupant: Debug + Send + Sync {
    /// What waits, if nothing can go on without the client.
    fn waits(&self) -> Option<Waits>;

    /// What another connection needs to take the place of this one, if nothing has gone on since then.
    fn give_way(&self, since: Instant) -> Option<OwnedSemaphorePermit>;
}

/// A connection on which nothing goes on without the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) since: Instant,
    /// About how much memory is held all the while, in bytes.
    pub(super) holds: usize,
}

#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    limit: usize,
    /// Those that are taken, and some that were.
    taken: Vec<Weak<Place>>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            taken: Vec::new(),
        }
    }

    /// A place for a new connection, which may be that of one whose client does nothing. `None` if all are busy.
    pub(super) fn take(&mut self) -> Option<Arc<Place>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room()?,
        };
        // At most every so many connections, so that each pays for one look at one place.
        if self.taken.len() >= self.limit.saturating_mul(2) {
            self.taken.retain(|place| place.strong_count() > 0);
        }
        let place = Arc::new(Place::new(Some(permit)));
        self.taken.push(Arc::downgrade(&place));
        Some(place)
    }

    fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        let idle = self.longest_idle().and_then(|place| place.give_way());
        idle.or_else(|| self.heaviest_waiting())
    }

    /// Ends the one that holds most of those that wait for their clients.
    fn heaviest_waiting(&self) -> Option<OwnedSemaphorePermit> {
        let since = Instant::now().checked_sub(PATIENCE)?;
        let waiting = self.taken.iter().filter_map(|place| {
            let occupant = place.upgrade()?.occupant.get()?.upgrade()?;
            let waits = occupant.waits().filter(|waits| waits.since <= since)?;
            Some((waits, occupant))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(waits, _)| (Reverse(waits.holds), waits.since));
        waiting.iter().find_map(|(_, occupant)| occupant.give_way(since))
    }

    /// Looks at all of them; only done when none is free.
    fn longest_idle(&self) -> Option<Arc<Place>> {
        let longest = self.taken.iter().filter_map(|place| {
            let place = place.upgrade()?;
            let since = place.state().idle?;
            Some((since, place))
        });
        let (since, place) = longest.min_by_key(|(since, _)| *since)?;
        (since.elapsed() >= RESPITE).then_some(place)
    }
}

/// What a connection needs to be open.
#[derive(Debug)]
pub(super) struct Place {
    state: Mutex<State>,
    lost: Notify,
    /// Once something has been asked.
    occupant: OnceLock<Weak<dyn Occupant>>,
}

#[derive(Debug)]
struct State {
    /// Since when nothing is asked of the connection.
    idle: Option<Instant>,
    /// It has been given to another connection, or given up.
    lost: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Of a connection that has said nothing yet.
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

    /// Of a connection that is only there to be refused. Nobody takes it away.
    pub(super) fn to_be_refused() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask for the place while it is not idle.
    pub(super) fn occupied_by(&self, occupant: Weak<dyn Occupant>) {
        // A connection has one protocol.
        _ = self.occupant.set(occupant);
    }

    /// Something has been asked: from now on it keeps its place. False if it has lost it already; then nothing may be
    /// begun any more.
    pub(super) fn busy(&self) -> bool {
        let mut state = self.state();
        state.idle = None;
        !state.lost
    }

    /// Everything that was asked has been answered.
    pub(super) fn idle(&self) {
        let mut state = self.state();
        if !state.lost {
            state.idle.get_or_insert_with(Instant::now);
        }
    }

    /// Waits until the place has been given to another connection.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// The connection has ended, even if a request of it runs on.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.idle = None;
        state.lost = true;
        state.permit = None;
    }

    /// What another connection needs to take the place of this one, unless something has just been asked.
    fn give_way(&self) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        state.idle.take()?;
        self.lose(&mut state)
    }

    /// What another connection needs to take the place of this one.
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
        let mut places = Places::new(3);
        let busy = places.take().unwrap();
        assert!(busy.busy());
        advance(RESPITE).await;
        let silent = places.take().unwrap();
        advance(RESPITE / 2).await;
        let answered = places.take().unwrap();
        assert!(answered.busy());
        answered.idle();
        assert!(places.take().is_none(), "neither has been idle for long");

        advance(RESPITE / 2).await;
        let first = places.take().unwrap();
        silent.lost().await;
        assert!(!silent.busy(), "what arrives now is too late");
        assert!(places.take().is_none());

        advance(RESPITE / 2).await;
        let second = places.take().unwrap();
        answered.lost().await;
        assert!(busy.busy() && first.busy() && second.busy());
        advance(RESPITE * 2).await;
        assert!(places.take().is_none(), "all are busy");
        second.leave();
        assert!(places.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_that_came_first_keeps_the_place() {
        let mut places = Places::new(1);
        let place = places.take().unwrap();
        advance(RESPITE).await;
        let found = places.longest_idle().unwrap();
        assert!(place.busy());

        assert!(found.give_way().is_none());
        assert!(place.busy());
    }

    /// Waits for its client since then, and holds so much; or does not wait.
    #[derive(Debug)]
    struct Holding(Arc<Place>, Option<Waits>);

    impl Holding {
        fn of(place: &Arc<Place>, waits: Option<Waits>) -> Arc<dyn Occupant> {
            assert!(place.busy());
            let occupant: Arc<dyn Occupant> = Arc::new(Self(Arc::clone(place), waits));
            place.occupied_by(Arc::downgrade(&occupant));
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
        let mut places = Places::new(5);
        let taken: Vec<_> = (0..5).map(|_| places.take().unwrap()).collect();
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
            .map(|(place, waits)| Holding::of(place, waits))
            .collect();

        advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(places.take().is_none(), "none has waited for long");
        advance(Duration::from_secs(2)).await;
        let mut new = Vec::new();
        for gives_way in [2, 1, 0] {
            let place = places.take().unwrap();
            assert!(place.busy());
            new.push(place);
            taken[gives_way].lost().await;
            assert!(!taken[gives_way].busy());
        }
        assert!(
            places.take().is_none(),
            "one has not waited for long, and one is owed an answer"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_have_left_are_forgotten() {
        let mut places = Places::new(4);
        for _ in 0..100 {
            drop(places.take().unwrap());
        }
        assert!(places.taken.len() <= 8);
    }
}
