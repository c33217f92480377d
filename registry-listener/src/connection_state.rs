//! [`ConnectionState`]: the state of an HTTP/1 connection, and the time until which it may last.
//!
//! The connection's bytes ([`Watched`](super::watched::Watched)) and its requests ([`exchange`](super::exchange))
//! report here. The task that drives the connection reads the [`deadline`](ConnectionState::deadline). Reports record a time
//! and reset no timer.

use super::{
    body_scan::BodyScan,
    connection_slots::{ConnectionSlot, Occupant, Waits},
    head::HeadScan,
    refusal::Refusal,
    settings::{ConnectionLimits, Timeouts},
};
use http_body::Body as _;
use hyper::body::Incoming;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// Maximum number of bytes of a body that are assumed to be in memory: a whole manifest, or the piece of an upload that
/// is being written.
const MOST_RECEIVED: usize = 4 << 20;
/// Maximum number of bytes of an unwanted body that are received to keep the connection: that costs less than a new
/// connection.
const WORTH_KEEPING: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct ConnectionState {
    inner: Mutex<Inner>,
    slot: Arc<ConnectionSlot>,
    timeouts: Timeouts,
    limits: ConnectionLimits,
}

#[derive(Debug)]
struct Inner {
    /// Number of requests so far, which identifies the current one. Reports about earlier ones are ignored.
    requests: u64,
    /// True while a request is being answered.
    busy: bool,
    /// Time since which no request is open and the last answer has been sent.
    waiting: Instant,
    /// True once the request's body has been read to its end.
    in_head: bool,
    /// Rest of the body that has not arrived. Without it, arriving bytes belong to a head.
    body: Option<BodyScan>,
    head: HeadScan,
    /// Start of the head that is not complete yet.
    head_began: Option<Instant>,
    /// Time since which the peer accepts no bytes.
    blocked: Option<Instant>,
    /// True if the peer has accepted a part of this answer after a wait.
    taken: bool,
    /// Number of bytes of answers passed to hyper, but not to the system.
    queued: usize,
    /// Time since which more of the request's body is awaited.
    receiving: Option<Instant>,
    /// Number of bytes of the body received.
    received: usize,
    /// True if all answers have been passed to the system.
    flushed: bool,
    /// Reason for which the head is refused here.
    refused: Option<Refusal>,
    /// The rest of an unwanted body after an early answer; it is short.
    leftover: Option<Leftover>,
    /// If the connection ends with unread bytes, the time until which they are received.
    unread: Option<Instant>,
    /// Waker of the connection's task.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Leftover {
    body: Incoming,
    since: Instant,
    until: Instant,
}

impl ConnectionState {
    /// Creates the state of a connection whose first byte has arrived.
    pub(super) fn new(timeouts: Timeouts, limits: ConnectionLimits, slot: Arc<ConnectionSlot>) -> Arc<Self> {
        let now = Instant::now();
        let this = Arc::new(Self {
            inner: Mutex::new(Inner {
                requests: 0,
                busy: false,
                waiting: now,
                in_head: true,
                body: None,
                head: HeadScan::default(),
                head_began: None,
                blocked: None,
                taken: false,
                queued: 0,
                receiving: None,
                received: 0,
                flushed: true,
                refused: None,
                leftover: None,
                unread: None,
                waker: None,
            }),
            slot,
            timeouts,
            limits,
        });
        let occupant: Weak<dyn Occupant> = Arc::<Self>::downgrade(&this);
        this.slot.occupied_by(occupant);
        this
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Records bytes that arrived. Returns the number of them that may be passed on, or `None` if the head exceeds its
    /// limit or the connection has lost its slot.
    ///
    /// Bytes after a head wait until the head is a request, because only then it is known if they are a body or another
    /// head. Bytes after a body are a head, and are scanned even if hyper reads them together with the body.
    pub(super) fn received(&self, bytes: &[u8]) -> Option<usize> {
        let mut state = self.lock();
        if let Some(body) = &mut state.body {
            let taken = body.take(bytes);
            if body.is_over() {
                state.body = None;
            }
            return Some(taken);
        }
        if state.head.is_complete() || bytes.is_empty() {
            return Some(bytes.len());
        }
        if !self.slot.busy() {
            return None;
        }
        let taken = state.head.take(bytes);
        if state.head_began.is_none() {
            state.head_began = Some(Instant::now());
        }
        let fits = state.head.length() <= self.limits.head;
        if !fits {
            state.refused = Some(Refusal::HeadTooLarge);
        }
        fits.then_some(taken)
    }

    /// Records that the peer accepts no more bytes.
    pub(super) fn blocked(&self) {
        self.lock().blocked.get_or_insert_with(Instant::now);
    }

    /// Records that the peer has accepted this number of bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.lock();
        state.taken |= state.blocked.take().is_some();
        // Heads and stand-ins for files were not counted.
        state.queued = state.queued.saturating_sub(bytes);
    }

    /// Records that a piece of an answer has been passed to hyper.
    pub(super) fn queued(&self, bytes: usize) {
        self.lock().queued += bytes;
    }

    /// Records that more of a request's body is awaited.
    pub(super) fn receiving(&self, request: u64) {
        let mut state = self.lock();
        if state.requests == request {
            state.receiving.get_or_insert_with(Instant::now);
        }
    }

    /// Records that a piece of a request's body has arrived.
    pub(super) fn received_body(&self, request: u64, bytes: usize) {
        let mut state = self.lock();
        if state.requests == request {
            state.receiving = None;
            state.received = state.received.saturating_add(bytes).min(MOST_RECEIVED);
        }
    }

    /// Returns true while a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().busy
    }

    /// Records that everything written has been passed to the system.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        state.taken |= state.blocked.take().is_some();
        state.queued = 0;
        if !state.busy && !state.flushed {
            state.flushed = true;
            state.waiting = Instant::now();
            self.rest(&state);
        }
    }

    /// Returns true if bytes are an empty answer of hyper, which is replaced. hyper writes without a request only if it
    /// cannot parse a head, or if the head has too many lines.
    pub(super) fn replaces_answer(&self, answer: &[u8]) -> bool {
        let mut state = self.lock();
        let replaces = !state.busy && state.flushed;
        if replaces {
            let refusal = if answer.starts_with(b"HTTP/1.1 431") {
                Refusal::HeadTooLarge
            } else {
                Refusal::Malformed
            };
            state.refused.get_or_insert(refusal);
        }
        replaces
    }

    /// Records that a request was read. Returns its number, and the reason if it is refused: its head gives two
    /// lengths of its body, or the connection has lost its slot.
    pub(super) fn begin(&self, body: Option<BodyScan>) -> (u64, Option<Refusal>) {
        let mut state = self.lock();
        state.requests += 1;
        // The body of the previous request has ended, even if that was not reported.
        state.leftover = None;
        state.busy = true;
        state.taken = false;
        state.receiving = None;
        state.received = 0;
        state.flushed = false;
        state.head_began = None;
        state.in_head = body.is_none();
        state.body = body;
        let two_lengths = state.head.has_two_lengths();
        state.head.reset();
        let refusal = if !self.slot.busy() {
            Some(Refusal::Busy)
        } else if two_lengths {
            Some(Refusal::TwoLengths)
        } else {
            None
        };
        (state.requests, refusal)
    }

    /// Records that a request's body has been read to its end.
    pub(super) fn body_ended(&self, request: u64) {
        let mut state = self.lock();
        if state.requests == request {
            state.receiving = None;
            state.in_head = true;
            self.rest(&state);
        }
    }

    /// Records that nothing reads the body of a request any more. The rest is received if it is expected and known to be
    /// short. Otherwise the connection ends with the answer to this request.
    pub(super) fn body_dropped(&self, request: u64, body: Incoming, comes: bool) {
        let mut state = self.lock();
        if state.requests != request {
            return;
        }
        state.receiving = None;
        let since = Instant::now();
        let until = since + self.timeouts.discard;
        let short = body.size_hint().exact().is_some_and(|left| left <= WORTH_KEEPING);
        if comes && short {
            state.leftover = Some(Leftover { body, since, until });
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        } else {
            // hyper stops reading when it finds that the body was dropped.
            state.unread = Some(until);
        }
    }

    /// Records that the answer has begun. Returns true if the connection ends with it.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.lock();
        state.receiving = None;
        state.unread.is_some()
    }

    /// Records that the answer to a request has been passed on or abandoned. The peer may still need time to receive the
    /// part that hyper holds, whose end [`flushed`](Self::flushed) records.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.busy = false;
        state.received = 0;
    }

    /// Receives a part of an unwanted body.
    pub(super) fn poll_leftover(&self, context: &mut Context<'_>) {
        let mut state = self.lock();
        if !state
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            state.waker = Some(context.waker().clone());
        }
        let Some(leftover) = &mut state.leftover else {
            return;
        };
        // One frame per poll, so that other work of the connection is not delayed.
        match Pin::new(&mut leftover.body).poll_frame(context) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => context.waker().wake_by_ref(),
            Poll::Ready(None) => {
                state.leftover = None;
                state.in_head = true;
                self.rest(&state);
            }
            Poll::Ready(Some(Err(_))) => state.leftover = None,
        }
    }

    /// Marks the slot as idle if nothing is being requested, received or sent.
    fn rest(&self, state: &Inner) {
        let resting = !state.busy
            && state.flushed
            && state.in_head
            && state.head_began.is_none()
            && state.leftover.is_none();
        if resting {
            self.slot.idle();
        }
    }

    /// Returns the time at which the current state has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline(&self.timeouts)
    }

    /// Handles deadlines that have passed. Returns true if the connection is to be closed.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state
            .leftover
            .as_ref()
            .is_some_and(|leftover| leftover.until <= now)
        {
            // hyper closes the connection when it finds that the body was dropped.
            state.give_up_leftover();
            return false;
        }
        state
            .deadline(&self.timeouts)
            .is_some_and(|deadline| deadline <= now)
    }

    /// Returns the first line of a head that never became a request.
    pub(super) fn first_line(&self) -> String {
        self.lock().head.first_line()
    }

    /// Handles the end of the connection. Returns the refusal that is still to be sent, and, if the peer is still
    /// sending, the time until which its bytes are received.
    pub(super) fn ended(&self) -> (Option<Refusal>, Option<Instant>) {
        let state = self.lock();
        let leftover = state.leftover.as_ref().map(|leftover| leftover.until);
        let refused = state.refused.map(|_| Instant::now() + self.timeouts.discard);
        (state.refused, state.unread.or(leftover).or(refused))
    }
}

impl Occupant for ConnectionState {
    fn waits(&self) -> Option<Waits> {
        self.lock().waits()
    }

    fn evict(&self, since: Instant) -> Option<OwnedSemaphorePermit> {
        // Under this lock, so that the next event on the connection finds that the slot is lost.
        let state = self.lock();
        state.waits().filter(|waits| waits.since <= since)?;
        self.slot.release()
    }
}

impl Inner {
    fn waits(&self) -> Option<Waits> {
        let leftover = self.leftover.as_ref().map(|leftover| leftover.since);
        let since = match self.blocked {
            Some(blocked) => Some(blocked),
            None if self.busy => self.receiving,
            None if !self.flushed => None,
            None => leftover.or_else(|| Some(self.head_began?.max(self.waiting))),
        };
        Some(Waits {
            since: since?,
            holds: self.queued + self.received + self.head.length(),
        })
    }

    fn give_up_leftover(&mut self) {
        self.unread = self.leftover.take().map(|leftover| leftover.until);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let allowed = if self.taken {
            timeouts.body_idle
        } else {
            timeouts.first_write_timeout.min(timeouts.body_idle)
        };
        let blocked = self.blocked.map(|since| since + allowed);
        let leftover = self.leftover.as_ref().map(|leftover| leftover.until);
        let waiting = match self.head_began {
            _ if self.busy || !self.flushed || leftover.is_some() => None,
            // A head may arrive while the request before it is still being answered.
            Some(began) => Some(began.max(self.waiting) + timeouts.header),
            None => Some(self.waiting + timeouts.keep_alive),
        };
        [blocked, leftover, waiting].into_iter().flatten().min()
    }
}
