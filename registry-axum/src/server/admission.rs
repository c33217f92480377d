//! [`Admission`]: how many requests may be open over HTTP/2, over all connections.
//!
//! One connection can have many, and each can hold an open file and a piece of an answer, for the price of a few bytes.
//! So there is a bound over all connections, and when it is reached, those whose clients neither send nor take anything
//! give way: otherwise whoever keeps enough of them open locks everybody else out.

use super::{settings::Timeouts, streams::Streams};
use std::{
    cmp::Reverse,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// How long a request has waited for its client at least before its connection gives way.
const RESPITE: Duration = Duration::from_secs(5);
/// How often those who wait look for connections that give way.
const LOOK: Duration = Duration::from_secs(1);
/// How long there must have been room for all before the log says again that there is none.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Admission {
    open: Arc<Semaphore>,
    /// How many more may wait.
    queue: Semaphore,
    limit: usize,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct Connections {
    /// Those that are open, and some that were.
    all: Vec<Weak<Streams>>,
    /// How many there may be before those that were are forgotten.
    room: usize,
    /// When they were looked at last.
    looked: Option<Instant>,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            open: Arc::new(Semaphore::new(limit)),
            queue: Semaphore::new(limit),
            limit,
            connections: Mutex::new(Connections {
                all: Vec::new(),
                room: 64,
                looked: None,
            }),
        }
    }

    /// A new connection, whose requests may have to give way.
    pub(super) fn join(&self, streams: &Arc<Streams>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.all.len() >= connections.room {
            connections.all.retain(|streams| streams.strong_count() > 0);
            connections.room = connections.all.len().saturating_mul(2).max(64);
        }
        connections.all.push(Arc::downgrade(streams));
    }

    /// Lets a request in, at once or as soon as others have ended or given way; `None` if that takes too long, or too
    /// many wait already.
    pub(super) async fn admit(&self, timeouts: &Timeouts) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() {
            return Some(permit);
        }
        let _place = self.queue.try_acquire().ok()?;
        let deadline = Instant::now() + timeouts.queue;
        let mut admitted = pin!(Arc::clone(&self.open).acquire_owned());
        loop {
            self.make_room();
            let now = Instant::now();
            if let Ok(permit) = timeout_at(deadline.min(now + LOOK), &mut admitted).await {
                return permit.ok();
            }
            if deadline <= Instant::now() {
                return None;
            }
        }
    }

    /// Ends connections whose clients stand still, those with the most such requests first, until all who wait have
    /// room.
    fn make_room(&self) {
        let now = Instant::now();
        let (idle, again) = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = connections.looked;
            if looked.is_some_and(|looked| now < looked + LOOK) {
                return;
            }
            connections.looked = Some(now);
            let open = connections.all.iter().filter_map(Weak::upgrade);
            let Some(then) = now.checked_sub(RESPITE) else {
                return;
            };
            let idle = open.map(|streams| (streams.idle_since(then), streams));
            let mut idle: Vec<_> = idle.filter(|(requests, _)| *requests > 0).collect();
            idle.sort_unstable_by_key(|(requests, _)| Reverse(*requests));
            (idle, looked.is_some_and(|looked| now < looked + QUIET))
        };
        let mut wanted = self.limit - self.queue.available_permits();
        let limit = self.limit;
        if again {
            tracing::debug!(limit, waiting = wanted, "still too many requests over HTTP/2");
        } else {
            tracing::warn!(
                limit,
                waiting = wanted,
                "too many requests over HTTP/2: some wait, and connections whose clients stand still are ended"
            );
        }
        for (_, streams) in idle {
            if wanted == 0 {
                break;
            }
            wanted = wanted.saturating_sub(streams.give_way());
        }
    }
}
