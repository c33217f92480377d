//! [`Admission`]: limits the open requests of all HTTP/2 connections.
//!
//! A client can open many requests on one connection at little cost. Each can hold an open file and a piece of an
//! answer, so their number is limited over all connections. At the limit, connections are evicted whose clients neither
//! send nor receive. Otherwise a client that keeps enough requests open would lock out all others.

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

/// Minimum time for which a request has waited for its client before its connection may be closed.
const MIN_WAIT: Duration = Duration::from_secs(5);
/// Interval at which waiting requests search for connections to evict.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time without waiting requests before the log warns again.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Admission {
    open: Arc<Semaphore>,
    /// Number of further requests that may wait.
    queue: Semaphore,
    limit: usize,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct Connections {
    /// Open connections, and some that have ended.
    all: Vec<Weak<Streams>>,
    /// Number of entries at which ended connections are removed.
    room: usize,
    /// Time of the last search for idle ones.
    searched: Option<Instant>,
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
                searched: None,
            }),
        }
    }

    /// Adds a connection, which may be evicted.
    pub(super) fn join(&self, streams: &Arc<Streams>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.all.len() >= connections.room {
            connections.all.retain(|streams| streams.strong_count() > 0);
            connections.room = connections.all.len().saturating_mul(2).max(64);
        }
        connections.all.push(Arc::downgrade(streams));
    }

    /// Admits a request, at once or as soon as others have ended or given way. `None` if that takes too long, or too
    /// many requests wait already.
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
            if let Ok(permit) = timeout_at(deadline.min(now + SEARCH_INTERVAL), &mut admitted).await {
                return permit.ok();
            }
            if deadline <= Instant::now() {
                return None;
            }
        }
    }

    /// Evicts connections whose clients are idle, those with the most idle requests first, until all waiting requests
    /// can be admitted.
    fn make_room(&self) {
        let now = Instant::now();
        let (idle, again) = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let searched = connections.searched;
            if searched.is_some_and(|searched| now < searched + SEARCH_INTERVAL) {
                return;
            }
            connections.searched = Some(now);
            let open = connections.all.iter().filter_map(Weak::upgrade);
            let Some(then) = now.checked_sub(MIN_WAIT) else {
                return;
            };
            let idle = open.map(|streams| (streams.idle_since(then), streams));
            let mut idle: Vec<_> = idle.filter(|(requests, _)| *requests > 0).collect();
            idle.sort_unstable_by_key(|(requests, _)| Reverse(*requests));
            (
                idle,
                searched.is_some_and(|searched| now < searched + WARNING_PAUSE),
            )
        };
        let mut wanted = self.limit - self.queue.available_permits();
        let limit = self.limit;
        if again {
            tracing::debug!(limit, waiting = wanted, "still at the limit of HTTP/2 requests");
        } else {
            tracing::warn!(
                limit,
                waiting = wanted,
                "the limit of HTTP/2 requests is reached; further ones wait, and idle connections are evicted"
            );
        }
        for (_, streams) in idle {
            if wanted == 0 {
                break;
            }
            wanted = wanted.saturating_sub(streams.evict());
        }
    }
}
