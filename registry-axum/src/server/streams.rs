//! [`Streams`]: which requests of an HTTP/2 connection are open, and until when the connection may go on.
//!
//! A peer that answers pings and grants no window would hold its streams for ever, and nobody polls the body of an
//! answer that may not be sent. So each answer notes when it was last asked for a frame.

use super::{places::Place, refusal::Refusal, settings::Timeouts};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Streams {
    state: Mutex<State>,
    place: Arc<Place>,
    timeouts: Timeouts,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// The open ones; with a time as soon as there is an answer, when it last made progress.
    open: HashMap<u64, Option<Instant>>,
    /// Since when there is none.
    waiting: Instant,
    /// No answer can have stood still for too long before then.
    check: Instant,
    waker: Option<Waker>,
}

impl Streams {
    pub(super) fn new(timeouts: Timeouts, place: Arc<Place>) -> Self {
        place.idle();
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                next: 0,
                open: HashMap::new(),
                waiting: now,
                check: now + timeouts.body_idle,
                waker: None,
            }),
            place,
            timeouts,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// A request was read. Returns its number, and why it is refused: the connection has lost its place.
    pub(super) fn begin(&self) -> (u64, Option<Refusal>) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, None);
        (number, (!self.place.busy()).then_some(Refusal::Busy))
    }

    /// The answer of a request begins, or is asked for more.
    pub(super) fn progress(&self, number: u64) {
        if let Some(last) = self.state().open.get_mut(&number) {
            *last = Some(Instant::now());
        }
    }

    /// A request has been answered, or given up by its client.
    pub(super) fn end(&self, number: u64) {
        let mut state = self.state();
        state.open.remove(&number);
        if state.open.is_empty() {
            state.waiting = Instant::now();
            self.place.idle();
            // Requests have tasks of their own; that of the connection has a deadline now.
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether there was any request.
    pub(super) fn any(&self) -> bool {
        self.state().next > 0
    }

    /// Whether a request is being answered.
    pub(super) fn any_open(&self) -> bool {
        !self.state().open.is_empty()
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        self.state()
            .waker
            .get_or_insert_with(|| waker.clone())
            .clone_from(waker);
    }

    /// When the connection has to be looked at.
    pub(super) fn deadline(&self) -> Instant {
        let state = self.state();
        if state.open.is_empty() {
            state.waiting + self.timeouts.keep_alive
        } else {
            state.check
        }
    }

    /// What has run out, now that a deadline has passed.
    pub(super) fn expire(&self, now: Instant) -> Option<Expired> {
        let mut state = self.state();
        if state.open.is_empty() {
            return (state.waiting + self.timeouts.keep_alive <= now).then_some(Expired::Idle);
        }
        // Whoever begins later stands still later.
        let oldest = state.open.values().flatten().min().copied().unwrap_or(now);
        state.check = oldest + self.timeouts.body_idle;
        (state.check <= now).then_some(Expired::Stalled)
    }
}

/// Why a connection is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No requests for long: it is told so, and ends.
    Idle,
    /// An answer that its client does not take.
    Stalled,
}
