//! [`SpaceWatch`]: a warning before a storage refuses uploads for want of space.

use super::{
    clock::Clock,
    collect::{CollectOptions, CollectReport, Stopped, collect},
    repositories::RepositoryPages,
};
use crate::storage::{Page, Seen, Storage, StorageError};
use std::{convert::Infallible, time::Duration};

/// Interval at which the free space is measured.
const PERIOD: Duration = Duration::from_secs(60);
/// Number of items that are listed at once.
const PAGE: usize = 1000;

/// Watches the free space of a storage, and warns once when it falls below twice the reserve that uploads leave free.
///
/// The warning has the numbers of bytes that an operator can free. The next one follows after the free space has
/// exceeded that mark by an eighth.
///
/// ```
/// use registry_core::maintenance::SpaceWatch;
///
/// let mut watch = SpaceWatch::of_reserve(1000);
/// assert!(!watch.crosses(2000));
/// assert!(watch.crosses(1999));
/// // It stays low until there is clearly more.
/// assert!(!watch.crosses(2100) && !watch.crosses(1999));
/// assert!(!watch.crosses(2250) && watch.crosses(1999));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SpaceWatch {
    reserve: u64,
    is_low: bool,
}

impl SpaceWatch {
    /// Watches a storage that refuses uploads below this number of free bytes.
    #[must_use]
    pub const fn of_reserve(reserve: u64) -> Self {
        Self {
            reserve,
            is_low: false,
        }
    }

    /// Takes a measurement. Returns true if the free space has fallen below the mark since the last time that there
    /// was enough.
    #[must_use]
    pub const fn crosses(&mut self, free: u64) -> bool {
        let mark = self.reserve.saturating_mul(2);
        if free < mark {
            let crosses = !self.is_low;
            self.is_low = true;
            crosses
        } else {
            if free >= mark.saturating_add(mark / 8) {
                self.is_low = false;
            }
            false
        }
    }

    /// Measures every minute, as long as it is polled, and logs the warning. Failures are logged.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the measurements.
    pub async fn run(mut self, storage: &dyn Storage, clock: &dyn Clock) -> Infallible {
        loop {
            if let Err(error) = self.look(storage, clock).await {
                tracing::warn!(%error, "cannot measure the free space");
            }
            clock.sleep(PERIOD).await;
        }
    }

    async fn look(&mut self, storage: &dyn Storage, clock: &dyn Clock) -> Result<(), StorageError> {
        let Some(health) = storage.health() else {
            return Ok(());
        };
        let Some(space) = health.space().await? else {
            return Ok(());
        };
        let (free, reserve) = (space.bytes_free, self.reserve);
        if self.crosses(free) {
            let Freeable {
                sessions,
                quarantine,
                restorable,
                due,
            } = freeable(storage, clock).await?;
            tracing::warn!(
                free_bytes = free,
                refused_below = reserve,
                session_bytes = sessions,
                quarantined_bytes = quarantine,
                restorable_bytes = restorable,
                due_bytes = due,
                "the storage is nearly full; delete what is not needed and collect garbage, before uploads are refused"
            );
        }
        Ok(())
    }
}

/// Content that an operator can free, besides tags and manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Freeable {
    /// Bytes of open upload sessions.
    sessions: u64,
    /// Bytes in quarantine.
    quarantine: u64,
    /// Bytes that stay because their deletion can be undone. `None` if the storage cannot tell.
    restorable: Option<u64>,
    /// Bytes that nothing refers to, with those that were used too recently. `None` if the storage cannot tell.
    due: Option<u64>,
}

async fn freeable(storage: &dyn Storage, clock: &dyn Clock) -> Result<Freeable, StorageError> {
    let preview = preview(storage, clock).await;
    Ok(Freeable {
        sessions: sessions(storage).await?,
        quarantine: quarantine(storage).await?,
        restorable: preview.as_ref().map(|report| report.restorable.bytes),
        due: preview.map(|report| report.removed.bytes + report.later.bytes),
    })
}

/// Returns what a collection would do, if it can look at everything.
async fn preview(storage: &dyn Storage, clock: &dyn Clock) -> Option<CollectReport> {
    let options = CollectOptions::new().dry_run(true);
    let report = collect(storage, &options, clock, &|_| {}).await.ok()?;
    (!matches!(report.stopped, Some(Stopped::Failed(_)))).then_some(report)
}

async fn sessions(storage: &dyn Storage) -> Result<u64, StorageError> {
    let Some(inspect) = storage.inspect() else {
        return Ok(0);
    };
    let mut bytes = 0;
    let mut repositories = RepositoryPages::of(PAGE);
    while let Some(page) = repositories.page() {
        let listed = inspect.uploading(page).await?;
        repositories.listed(&listed);
        for name in listed.items.iter().map(Seen::key) {
            let mut last = None;
            loop {
                let page = inspect
                    .uploads(name, Page::first(PAGE).after(last.as_ref()))
                    .await?;
                for session in &page.items {
                    last = Some(match session {
                        Seen::Whole(session) => {
                            bytes += session.offset;
                            session.id
                        }
                        Seen::Unreadable { key, .. } => *key,
                    });
                }
                if !page.more {
                    break;
                }
            }
        }
    }
    Ok(bytes)
}

async fn quarantine(storage: &dyn Storage) -> Result<u64, StorageError> {
    let Some(repair) = storage.repair() else {
        return Ok(0);
    };
    let (mut bytes, mut last) = (0, None);
    loop {
        let listed = repair.quarantined(Page::first(PAGE).after(last.as_ref())).await?;
        bytes += listed.items.iter().map(|item| item.size).sum::<u64>();
        last = listed.items.into_iter().last().map(|item| item.id);
        if !listed.more {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Registry, digest::Algorithm, media_type::MediaType, reference::Tag, service::ManifestPush,
        storage::MemoryStorage,
    };
    use async_trait::async_trait;
    use std::time::SystemTime;

    /// A clock that stands still.
    struct Still;

    #[async_trait]
    impl Clock for Still {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        async fn sleep(&self, _: Duration) {}
    }

    #[tokio::test]
    async fn sessions_and_deletions_are_counted_over_all_repositories() {
        let storage = MemoryStorage::new();
        let registry = Registry::builder(storage.clone()).build();
        for name in ["a", "b"] {
            let repository = registry.repository(name).unwrap();
            let session = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
            repository
                .append(&session, None, String::from("four"))
                .await
                .unwrap();
            let tag = Tag::parse("v1").unwrap();
            let config = repository.push_blob("{}", None).await.unwrap().digest;
            let image = format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"a/b","digest":"{config}","size":2}},"layers":[]}}"#,
                MediaType::OCI_MANIFEST
            );
            let pushed = repository.put_manifest(ManifestPush::new(tag, image)).await;
            let digest = pushed.unwrap().digest;
            assert!(repository.delete_manifest(digest).await.unwrap());
        }

        let found = freeable(&storage, &Still).await.unwrap();

        let expected = Freeable {
            sessions: 8,
            quarantine: 0,
            // The config, which both repositories have.
            restorable: Some(2),
            due: Some(0),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_reserve_beyond_every_disk_overflows_nothing() {
        let mut watch = SpaceWatch::of_reserve(u64::MAX);
        assert!(watch.crosses(u64::MAX - 1));
        assert!(!watch.crosses(u64::MAX));
    }
}
