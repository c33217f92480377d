//! [`Dates`]: the dates of the store's answers, as they come.

use super::{
    clock::{Answer, Clock, MARGIN, Verdict},
    time::StoreTime,
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The clock of the store beside the local one.
#[derive(Debug)]
pub(super) struct Dates {
    began: Instant,
    clock: Mutex<Clock>,
    /// True once a date was not believed, and the log says so.
    is_reported: AtomicBool,
}

impl Default for Dates {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            clock: Mutex::default(),
            is_reported: AtomicBool::new(false),
        }
    }
}

impl Dates {
    pub(super) fn latest(&self) -> Option<StoreTime> {
        self.clock().latest()
    }

    pub(super) fn spread(&self) -> Duration {
        self.clock().spread()
    }

    /// Notes the date of an answer to a request that was sent at a local time.
    pub(super) fn answer(&self, headers: &http::HeaderMap, asked: Instant) {
        let text = headers
            .get(http::header::DATE)
            .and_then(|date| date.to_str().ok());
        let Some(date) = text.and_then(|text| httpdate::parse_http_date(text).ok()) else {
            return;
        };
        let verdict = self.clock().note(Answer {
            date: StoreTime::of(date),
            asked: asked.saturating_duration_since(self.began),
            came: self.began.elapsed(),
        });
        let (difference, direction) = match verdict {
            Verdict::Believed => return,
            Verdict::Ahead(difference) => (difference, "ahead of"),
            Verdict::Behind(difference) => (difference, "behind"),
        };
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::error!(
                date = text,
                "an answer of the object store has a date that is {} seconds {direction} the dates before, and is not \
                 believed; the clocks of its nodes may differ by {} seconds: check them",
                difference.as_secs(),
                MARGIN.as_secs()
            );
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
