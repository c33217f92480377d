//! Collections that nobody asks for: `storage.maintenance.collect`.

use registry_core::{
    Storage,
    maintenance::{CollectOptions, CollectSchedule},
};
use std::{num::NonZeroU32, time::Duration};

/// Time between two runs.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// `storage.maintenance.collect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// True to remove in every storage, false to collect none. `None` removes in a storage that this software created or
    /// that somebody has collected with it, and reports in others.
    pub(crate) enabled: Option<bool>,
    /// Maximum number of removals per second, or `None` for runs that take all the time that they need at once.
    pub(crate) rate: Option<NonZeroU32>,
    /// Time without use after which content goes.
    pub(crate) grace: Duration,
}

impl Settings {
    /// Returns the schedule for a storage that keeps deletions for a time. Logs what it is going to do.
    pub(crate) fn schedule(&self, storage: &dyn Storage, trash: Duration) -> Option<CollectSchedule> {
        let is_own = storage.collect()?.is_own();
        let (rate, grace) = (self.rate.map_or(0, NonZeroU32::get), self.grace.as_secs());
        match self.enabled {
            Some(false) => {
                tracing::info!(
                    "deleted images take space until somebody runs `registry garbage-collect`: `storage.maintenance.collect.enabled` is `false`"
                );
                return None;
            }
            None if !is_own => tracing::info!(
                "collections only report what they would free, because other software may have written to this storage; `registry garbage-collect` or `storage.maintenance.collect.enabled: true` changes that"
            ),
            _ => tracing::info!(rate, grace, "collections free what nothing refers to"),
        }
        let options = CollectOptions::automatic()
            .rate(self.rate)
            .grace(self.grace)
            // What is deleted for good is not kept until its record expires.
            .empty_trash(trash.is_zero());
        let schedule = CollectSchedule::new(INTERVAL).options(options);
        Some(schedule.foreign(self.enabled == Some(true)))
    }
}
