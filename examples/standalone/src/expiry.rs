//! Ends abandoned upload sessions: by default a week after the last data, or after an hour if a session is empty.
//!
//! Implements registry:2's `storage.maintenance.uploadpurging`, which does not treat empty sessions differently.

use registry_core::{
    Storage,
    maintenance::{expire_empty_uploads, expire_uploads},
};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};
use tokio::time::{Interval, MissedTickBehavior};

/// Maximum idle time of an empty session. Clients send the first byte right after they open a session.
const EMPTY_AGE: Duration = Duration::from_secs(60 * 60);
/// Maximum interval at which empty sessions are looked for. They count against a limit that all pushes share.
const EMPTY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Schedules on which sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    any: Schedule,
    empty: Schedule,
}

/// Schedule for one kind of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    /// Maximum idle time of a session.
    age: Duration,
    /// Interval at which sessions are looked for.
    interval: Duration,
}

impl Expiry {
    /// Ends sessions that are idle for `age`, looking for them every `interval`. Empty sessions end sooner.
    pub(crate) fn new(age: Duration, interval: Duration) -> Self {
        Self {
            any: Schedule { age, interval },
            empty: Schedule {
                age: age.min(EMPTY_AGE),
                interval: interval.min(EMPTY_INTERVAL),
            },
        }
    }
}

impl Schedule {
    /// Returns an interval whose first tick is immediate.
    fn looks(self) -> Interval {
        let mut looks = tokio::time::interval(self.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks
    }

    fn idle_since(self) -> SystemTime {
        // Nothing is as old as that: then nothing is ended.
        SystemTime::now()
            .checked_sub(self.age)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Ends sessions at once and then periodically, as long as it is polled. Does nothing without an expiry, or if the
/// storage is read-only.
pub(crate) async fn run(storage: &dyn Storage, expiry: Option<Expiry>) -> Infallible {
    let expiry = expiry.filter(|_| storage.write().is_some());
    let Some(Expiry { any, empty }) = expiry else {
        return std::future::pending().await;
    };
    let (mut looks, mut looks_for_empty) = (any.looks(), empty.looks());
    loop {
        let ended = tokio::select! {
            _ = looks.tick() => expire_uploads(storage, any.idle_since()).await,
            _ = looks_for_empty.tick() => expire_empty_uploads(storage, empty.idle_since()).await,
        };
        match ended {
            Ok(report) if report.expired > 0 || report.failed > 0 => {
                let (expired, bytes, failed) = (report.expired, report.bytes, report.failed);
                tracing::info!(expired, bytes, failed, "abandoned upload sessions were ended");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "abandoned upload sessions could not be looked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::{
        Algorithm, RepositoryName, UploadId,
        storage::{MemoryStorage, NewUpload},
    };

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn sessions_without_a_byte_go_sooner_and_never_later() {
        let usual = Expiry::new(7 * DAY, DAY);
        assert_eq!(usual.empty.age, Duration::from_secs(3600));
        assert_eq!(usual.empty.interval, Duration::from_secs(300));

        let eager = Expiry::new(Duration::from_secs(60), Duration::from_secs(10));
        assert_eq!(eager.empty, eager.any);
    }

    async fn opened(storage: &MemoryStorage) -> UploadId {
        let new = NewUpload::hashed_by(Algorithm::Sha256);
        let write = storage.write().unwrap();
        write.open_upload(&repository(), new).await.unwrap().id
    }

    fn repository() -> RepositoryName {
        RepositoryName::parse("a").unwrap()
    }

    async fn is_gone(storage: &MemoryStorage, id: &UploadId) {
        let write = storage.write().unwrap();
        while write.upload(&repository(), id).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn sessions_without_a_byte_are_looked_for_time_and_again() {
        let storage = MemoryStorage::new();
        let expiry = Expiry {
            any: Schedule {
                age: 7 * DAY,
                interval: DAY,
            },
            empty: Schedule {
                age: Duration::ZERO,
                interval: Duration::from_millis(1),
            },
        };
        let pushing = async {
            // The second is opened when the looks at the start are over.
            for _ in 0..2 {
                let id = opened(&storage).await;
                is_gone(&storage, &id).await;
            }
        };

        tokio::select! {
            () = pushing => {}
            never = run(&storage, Some(expiry)) => match never {},
        }
    }
}
