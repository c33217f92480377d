//! [`NotedClock`]: a [`ClockWatch`] that notes when it trusted the clock, for the next process.
//!
//! A process that waits for a day after an absence notes that, too. Otherwise a machine that is switched off every night
//! would wait for ever.

use super::{
    clock::Clock,
    clock_watch::{ClockWatch, Distrust, Last},
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
    /// Time of the last note, and true if the clock was trusted then.
    noted: Option<(SystemTime, bool)>,
}

impl ClockWatch {
    /// Begins to watch with the note of an earlier process, which [`Upkeep`](super::Upkeep) writes. Without a note, the
    /// process was absent for an unknown time. Writes none.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn from_notes(clock: &dyn Clock, notes: &dyn Notes) -> Self {
        let last = match notes.note(NOTE).await {
            Ok(note) => note.and_then(|note| parse(&note)).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "cannot read the note about the clock; ages do not count for another day");
                Last::default()
            }
        };
        Self::resume(clock, last)
    }
}

impl<'a> NotedClock<'a> {
    /// Begins to watch with the note of an earlier process.
    pub(super) async fn start(clock: &dyn Clock, notes: &'a dyn Notes) -> Self {
        Self {
            notes,
            watch: ClockWatch::from_notes(clock, notes).await,
            noted: None,
        }
    }

    /// Returns the current time, if ages may be computed with it.
    pub(super) async fn now(&mut self, clock: &dyn Clock) -> Result<SystemTime, Distrust> {
        let trusted = self.watch.now(clock);
        let note = match trusted {
            Ok(now) => Last {
                seen: Some(now),
                waiting: None,
            },
            Err(Distrust::Absent) => Last {
                seen: None,
                waiting: self.watch.waited(clock).map(|waited| (clock.now(), waited)),
            },
            Err(_) => return trusted,
        };
        self.write(clock.now(), note).await;
        trusted
    }

    /// Writes a note, unless the last one says nearly the same.
    async fn write(&mut self, now: SystemTime, note: Last) {
        let is_trusted = note.seen.is_some();
        let is_news = |(at, was_trusted): (SystemTime, bool)| {
            was_trusted != is_trusted || now.duration_since(at).map_or(true, |age| age >= INTERVAL)
        };
        if !self.noted.is_none_or(is_news) {
            return;
        }
        self.noted = Some((now, is_trusted));
        if let Err(error) = self.notes.set_note(NOTE, to_bytes(&note).into()).await {
            tracing::warn!(%error, "cannot write the note about the clock; after a restart, ages do not count for another day");
        }
    }
}

/// Reads a note. A malformed one counts as absent.
fn parse(note: &[u8]) -> Option<Last> {
    let note: Value = serde_json::from_slice(note).ok()?;
    let seconds = |name| note.get(name).and_then(Value::as_u64).map(Duration::from_secs);
    let time = |name| seconds(name).and_then(|seconds| UNIX_EPOCH.checked_add(seconds));
    Some(Last {
        seen: time("seen"),
        waiting: time("at").zip(seconds("waited")),
    })
}

fn to_bytes(last: &Last) -> String {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match last.waiting {
        Some((at, waited)) => json!({ "at": seconds(at), "waited": waited.as_secs() }),
        None => json!({ "seen": last.seen.map(seconds) }),
    }
    .to_string()
}
