//! [`Places`]: how many connections there may be, and which one gives way when there are too many.
//!
//! A connection costs nothing to open and little to keep. So when no place is free, a new one gets that of the one
//! that has been idle longest: otherwise whoever keeps enough of them open locks everybody else out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How long a connection is idle at least before it gives way: the first or next byte may be on its way.
const RESPITE: Duration = Duration::from_secs(1);

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

    /// A place for a new connection, which may be that of an idle one. `None` if all are busy.
    pub(super) fn take(&mut self) -> Option<Arc<Place>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.longest_idle()?.give_way()?,
        };
        // At most every so many connections, so that each pays for one look at one place.
        if self.taken.len() >= self.limit.saturating_mul(2) {
            self.taken.retain(|place| place.strong_count() > 0);
        }
        let place = Arc::new(Place::new(Some(permit)));
        self.taken.push(Arc::downgrade(&place));
        Some(place)
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
        }
    }

    /// Of a connection that is only there to be refused. Nobody takes it away.
    pub(super) fn to_be_refused() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test(start_paused = true)]
    async fn those_that_have_left_are_forgotten() {
        let mut places = Places::new(4);
        for _ in 0..100 {
            drop(places.take().unwrap());
        }
        assert!(places.taken.len() <= 8);
    }
}
