//! [`Streams`]: the open requests of an HTTP/2 connection, and the time until which the connection may continue.
//!
//! A peer that answers pings but grants no window would hold its streams for ever. The body of an answer without a window
//! is not polled, so it cannot have a timer. Each request therefore records since when it waits for its client.

use super::{
    connection_slots::{ConnectionSlot, Occupant, Waits},
    settings::Timeouts,
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

#[derive(Debug)]
pub(super) struct Streams {
    state: Mutex<State>,
    slot: Arc<ConnectionSlot>,
    timeouts: Timeouts,
}

#[derive(Debug)]
struct State {
    next: u64,
    open: HashMap<u64, Open>,
    /// Time since which there is no open request.
    waiting: Instant,
    /// Time before which no answer can be overdue.
    check: Instant,
    /// True if the connection is evicted, because others need the resources of its requests.
    evicted: bool,
    /// Waker of the connection's task.
    waker: Option<Waker>,
}

/// A request that is open.
#[derive(Debug, Default)]
struct Open {
    /// Time since which it waits for its client, to send more of its body or to read more of the answer.
    idle: Option<Instant>,
    /// True once the answer has begun.
    answered: bool,
    /// True if the client has read a piece of the answer.
    taken: bool,
    /// True while a piece of the answer is being sent.
    sending: bool,
    /// Number of bytes of that piece.
    holds: usize,
    /// Waker of the task that sends the answer.
    waker: Option<Waker>,
}

impl Open {
    /// Returns the time at which the client has been idle for too long. Bodies of requests have timers of their own.
    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let allowed = if self.taken {
            timeouts.body_idle
        } else {
            timeouts.first_write_timeout.min(timeouts.body_idle)
        };
        self.idle.filter(|_| self.answered).map(|since| since + allowed)
    }
}

impl Streams {
    pub(super) fn new(timeouts: Timeouts, slot: Arc<ConnectionSlot>) -> Arc<Self> {
        slot.idle();
        let now = Instant::now();
        let this = Arc::new(Self {
            state: Mutex::new(State {
                next: 0,
                open: HashMap::new(),
                waiting: now,
                check: now + timeouts.body_idle,
                evicted: false,
                waker: None,
            }),
            slot,
            timeouts,
        });
        let occupant: Weak<dyn Occupant> = Arc::<Self>::downgrade(&this);
        this.slot.occupied_by(occupant);
        this
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Records that a request was read. Returns false if the connection has lost its slot: nothing may be begun.
    pub(super) fn begin(self: &Arc<Self>) -> (Stream, bool) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Open::default());
        let stream = Stream {
            streams: Arc::clone(self),
            number,
            admitted: None,
        };
        (stream, self.slot.busy())
    }

    fn end(&self, number: u64) {
        let mut state = self.state();
        state.open.remove(&number);
        if state.open.is_empty() {
            state.waiting = Instant::now();
            self.slot.idle();
            // Requests have tasks of their own. The task of the connection has a deadline from now on.
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Returns true if there was any request.
    pub(super) fn any(&self) -> bool {
        self.state().next > 0
    }

    /// Returns true while a request is being answered.
    pub(super) fn any_open(&self) -> bool {
        !self.state().open.is_empty()
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        self.state()
            .waker
            .get_or_insert_with(|| waker.clone())
            .clone_from(waker);
    }

    /// Returns the number of requests that have been waiting for their client since `then`.
    pub(super) fn idle_since(&self, then: Instant) -> usize {
        let state = self.state();
        let idle = state.open.values().filter_map(|open| open.idle);
        idle.filter(|since| *since <= then).count()
    }

    /// Evicts the connection, because others need the resources of its requests. Returns the number of these requests.
    pub(super) fn evict(&self) -> usize {
        let mut state = self.state();
        if std::mem::replace(&mut state.evicted, true) {
            return 0;
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        state.open.len()
    }

    /// Returns the time at which the connection has to be checked.
    pub(super) fn deadline(&self) -> Instant {
        let state = self.state();
        if state.evicted {
            Instant::now()
        } else if state.open.is_empty() {
            state.waiting + self.timeouts.keep_alive
        } else {
            state.check
        }
    }

    /// Returns the reason to end the connection if a deadline has passed.
    pub(super) fn expire(&self, now: Instant) -> Option<Expired> {
        let mut state = self.state();
        if state.evicted {
            return Some(Expired::Evicted);
        }
        if state.open.is_empty() {
            return (state.waiting + self.timeouts.keep_alive <= now).then_some(Expired::Idle);
        }
        let deadlines = state
            .open
            .values()
            .filter_map(|open| open.deadline(&self.timeouts));
        // An answer that begins later updates this.
        state.check = deadlines.min().unwrap_or(now + self.timeouts.body_idle);
        (state.check <= now).then_some(Expired::Stalled)
    }
}

impl Occupant for Streams {
    fn waits(&self) -> Option<Waits> {
        self.state().waits()
    }

    fn evict(&self, since: Instant) -> Option<OwnedSemaphorePermit> {
        let state = self.state();
        state.waits().filter(|waits| waits.since <= since)?;
        self.slot.release()
    }
}

impl State {
    /// Returns the wait if no request can continue without the client.
    fn waits(&self) -> Option<Waits> {
        let mut open = self.open.values();
        let first = open.next()?;
        open.try_fold((first.idle?, first.holds), |(since, holds), open| {
            Some((since.max(open.idle?), holds + open.holds))
        })
        .map(|(since, holds)| Waits { since, holds })
    }
}

/// Reasons to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No requests for a long time. The peer is told, and the connection ends.
    Idle,
    /// An answer that the client does not read.
    Stalled,
    /// Others need the resources of its requests.
    Evicted,
}

/// An open request. It is dropped when its answer has been written or abandoned.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    number: u64,
    /// Permit for one of the requests that may be open at once, over all connections.
    admitted: Option<OwnedSemaphorePermit>,
}

impl Stream {
    pub(super) fn admit(&mut self, permit: OwnedSemaphorePermit) {
        self.admitted = Some(permit);
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        self.streams.timeouts()
    }

    fn update(&self, update: impl FnOnce(&mut Open)) {
        let mut state = self.streams.state();
        let Some(open) = state.open.get_mut(&self.number) else {
            return;
        };
        update(open);
        if let Some(deadline) = open.deadline(&self.streams.timeouts)
            && deadline < state.check
        {
            state.check = deadline;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Records that the client's next bytes are awaited, or have arrived.
    pub(super) fn receiving(&self, waits: bool) {
        self.update(|open| {
            if !open.answered {
                open.idle = waits.then(|| open.idle.unwrap_or_else(Instant::now));
            }
        });
    }

    /// Records that there is an answer.
    pub(super) fn answered(&self) {
        self.update(|open| {
            open.answered = true;
            open.idle = Some(Instant::now());
        });
    }

    /// Returns ready when the client has read everything sent so far.
    pub(super) fn poll_taken(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.streams.state();
        match state.open.get_mut(&self.number) {
            Some(open) if open.sending => {
                open.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Records that the next piece of the answer is awaited from its producer.
    pub(super) fn making(&self) {
        self.update(|open| open.idle = None);
    }

    /// Wraps a piece of the answer that is being sent. The request stays open at least until the piece has been
    /// written.
    pub(super) fn sending(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let holds = bytes.len();
        self.update(|open| {
            open.idle = Some(Instant::now());
            open.sending = true;
            open.holds = holds;
        });
        Bytes::from_owner(Piece {
            bytes,
            stream: Arc::clone(self),
        })
    }

    fn taken(&self) {
        self.update(|open| {
            open.idle = Some(Instant::now());
            open.taken = true;
            open.sending = false;
            open.holds = 0;
            if let Some(waker) = open.waker.take() {
                waker.wake();
            }
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.end(self.number);
    }
}

/// A piece of an answer. It is dropped when it has been written or abandoned.
struct Piece {
    bytes: Bytes,
    stream: Arc<Stream>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.stream.taken();
    }
}
