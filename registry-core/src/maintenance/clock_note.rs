//! [`NotedClock`]: a [`ClockWatch`] that notes when it trusted the clock, for the next process.

use super::{
    clock::Clock,
    clock_watch::{ClockWatch, Distrust},
    notes::Notes,
};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the note.
const NOTE: &str = "clock";
/// Minimum time between two changes of the note.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Watch of the clock, with a note of the last time at which the clock was trusted.
pub(super) struct NotedClock<'a> {
    notes: &'a dyn Notes,
    watch: ClockWatch,
    noted: Option<SystemTime>,
}

impl<'a> NotedClock<'a> {
    /// Begins to watch. Without a note, the process was absent for an unknown time.
    pub(super) async fn start(clock: &dyn Clock, notes: &'a dyn Notes) -> Self {
        let seen = match notes.note(NOTE).await {
            Ok(note) => note.and_then(|note| parse(&note)),
            Err(error) => {
                tracing::warn!(%error, "cannot read the note about the clock; records of deletions are kept for another day");
                None
            }
        };
        Self {
            notes,
            watch: ClockWatch::start(clock, seen),
            noted: None,
        }
    }

    /// Returns the current time, if ages may be computed with it.
    pub(super) async fn now(&mut self, clock: &dyn Clock) -> Result<SystemTime, Distrust> {
        let now = self.watch.now(clock)?;
        let is_news = |noted| now.duration_since(noted).map_or(true, |age| age >= INTERVAL);
        if self.noted.is_none_or(is_news) {
            self.noted = Some(now);
            if let Err(error) = self.notes.set_note(NOTE, to_bytes(now).into()).await {
                tracing::warn!(%error, "cannot write the note about the clock; after a restart, records of deletions are kept for another day");
            }
        }
        Ok(now)
    }
}

/// Reads a note. A malformed one counts as absent.
fn parse(note: &[u8]) -> Option<SystemTime> {
    let note: Value = serde_json::from_slice(note).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(note.get("seen")?.as_u64()?))
}

fn to_bytes(seen: SystemTime) -> String {
    let seconds = seen.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({ "seen": seconds }).to_string()
}
